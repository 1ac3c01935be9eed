#include <curl/curl.h>
#include <string.h>

// Swift can't call variadic functions: the typed forms of curl_easy_setopt and curl_easy_getinfo that are needed.

static inline CURLcode lk_curl_set_text(CURL *curl, CURLoption option, const char *text) {
    return curl_easy_setopt(curl, option, text);
}

static inline CURLcode lk_curl_set_number(CURL *curl, CURLoption option, long number) {
    return curl_easy_setopt(curl, option, number);
}

static inline CURLcode lk_curl_set_list(CURL *curl, CURLoption option, struct curl_slist *list) {
    return curl_easy_setopt(curl, option, list);
}

static inline CURLcode lk_curl_set_mime(CURL *curl, curl_mime *mime) {
    return curl_easy_setopt(curl, CURLOPT_MIMEPOST, mime);
}

// The last line that the server said, without its line end; longer ones are cut off.
struct lk_curl_reply {
    char text[512];
};

static size_t lk_curl_note_reply(char *line, size_t size, size_t count, void *reply) {
    char *text = ((struct lk_curl_reply *)reply)->text;
    size_t length = size * count;
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) length--;
    if (length > sizeof ((struct lk_curl_reply *)reply)->text - 1) length = sizeof ((struct lk_curl_reply *)reply)->text - 1;
    memcpy(text, line, length);
    text[length] = 0;
    return size * count;
}

// Keeps in `reply` what the server says; `error` holds CURL_ERROR_SIZE bytes. Both must outlive the handle.
static inline void lk_curl_listen(CURL *curl, struct lk_curl_reply *reply, char *error) {
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, lk_curl_note_reply);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, reply);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
}

static inline long lk_curl_response_code(CURL *curl) {
    long code = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    return code;
}
