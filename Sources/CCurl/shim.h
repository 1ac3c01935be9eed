#include <curl/curl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

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

static inline CURLcode lk_curl_set_context(CURL *curl, CURLoption option, void *context) {
    return curl_easy_setopt(curl, option, context);
}

static inline void lk_curl_receive(CURL *curl, curl_write_callback receive, curl_write_callback header, void *context) {
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, context);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, context);
}

static inline long lk_curl_status(CURL *curl) {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

// The finished transfers of a multi handle, one a call; null when there is none. `outcome` is set.
static inline CURL *lk_curl_next_finished(CURLM *multi, CURLcode *outcome) {
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(multi, &left)))
        if (message->msg == CURLMSG_DONE) {
            *outcome = message->data.result;
            return message->easy_handle;
        }
    return 0;
}

// Asks `isAllowed`, with the bytes of each address that a name stands for, whether it may be connected to.
struct lk_address_check {
    int (*isAllowed)(void *context, const unsigned char *bytes, int length);
    void *context;
};

static curl_socket_t lk_curl_open(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
    struct lk_address_check *check = (struct lk_address_check *)context;
    const unsigned char *bytes = 0;
    int length = 0;
    (void)purpose;
    if (address->family == AF_INET && address->addrlen >= sizeof(struct sockaddr_in)) {
        bytes = (const unsigned char *)&((struct sockaddr_in *)&address->addr)->sin_addr;
        length = 4;
    } else if (address->family == AF_INET6 && address->addrlen >= sizeof(struct sockaddr_in6)) {
        bytes = (const unsigned char *)&((struct sockaddr_in6 *)&address->addr)->sin6_addr;
        length = 16;
    }
    if (!bytes || !check->isAllowed(check->context, bytes, length)) return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// Nothing is connected to without having passed `check`, which must outlive the transfer.
static inline void lk_curl_check_addresses(CURL *curl, struct lk_address_check *check) {
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, lk_curl_open);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, check);
}
