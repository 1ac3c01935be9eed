// Swift can't call RE2's C++ interface without importing all of it, so this is the little of it that is needed.
#include "CRE2.h"

#include <re2/re2.h>

#include <cstdio>
#include <new>

struct lk_re2 {
    re2::RE2 expression;

    lk_re2(const re2::StringPiece &pattern, const re2::RE2::Options &options) : expression(pattern, options) {}
};

struct lk_re2 *lk_re2_compile(const char *pattern, size_t length, int64_t memory_bytes, char *reason,
                              size_t reason_length) {
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(memory_bytes);
    lk_re2 *compiled = new (std::nothrow) lk_re2(re2::StringPiece(pattern, length), options);
    if (compiled == nullptr) {
        std::snprintf(reason, reason_length, "out of memory");
        return nullptr;
    }
    if (!compiled->expression.ok()) {
        std::snprintf(reason, reason_length, "%s", compiled->expression.error().c_str());
        delete compiled;
        return nullptr;
    }
    return compiled;
}

int lk_re2_matches(const struct lk_re2 *expression, const char *text, size_t length) {
    return re2::RE2::PartialMatch(re2::StringPiece(text, length), expression->expression) ? 1 : 0;
}

void lk_re2_free(struct lk_re2 *expression) { delete expression; }
