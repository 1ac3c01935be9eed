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

// Asks `isStopped` about once a second whether to give up.
static inline void lk_curl_watch(CURL *curl, curl_xferinfo_callback isStopped, void *context) {
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, isStopped);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, context);
}

// A refusal by the server: its last reply of 4xx or 5xx, without the line end, longer ones cut off.
struct lk_smtp_refusal {
    char text[512];
    // Whether it answers RCPT, DATA or the mail itself, and not the connection, the sign-in or the sender.
    int is_about_mail;
    // Whether all of the mail was sent.
    int is_mail_sent;
    // The command that was sent last, its first four letters.
    char command[4];
};

// What libcurl tells as it goes: commands on their way out, replies on their way in.
static int lk_smtp_note(CURL *curl, curl_infotype type, char *line, size_t length, void *context) {
    struct lk_smtp_refusal *refusal = (struct lk_smtp_refusal *)context;
    (void)curl;
    if (type == CURLINFO_HEADER_OUT && length >= 4) memcpy(refusal->command, line, 4);
    // Its last piece ends in a line of a full stop.
    if (type == CURLINFO_DATA_OUT) refusal->is_mail_sent = length >= 3 && memcmp(line + length - 3, ".\r\n", 3) == 0;
    if (type != CURLINFO_HEADER_IN || length < 3 || (line[0] != '4' && line[0] != '5')) return 0;
    // QUIT follows a refusal; what it is answered says nothing.
    if (memcmp(refusal->command, "QUIT", 4) == 0) return 0;
    refusal->is_about_mail = memcmp(refusal->command, "RCPT", 4) == 0 || memcmp(refusal->command, "DATA", 4) == 0;
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) length--;
    if (length > sizeof refusal->text - 1) length = sizeof refusal->text - 1;
    memcpy(refusal->text, line, length);
    refusal->text[length] = 0;
    return 0;
}

// Notes refusals in `refusal`, and libcurl's own words in `error` of CURL_ERROR_SIZE bytes. Both must outlive the transfer.
static inline void lk_smtp_listen(CURL *curl, struct lk_smtp_refusal *refusal, char *error) {
    curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L);
    curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, lk_smtp_note);
    curl_easy_setopt(curl, CURLOPT_DEBUGDATA, refusal);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
}
