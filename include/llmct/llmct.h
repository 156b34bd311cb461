/* llmct-gpu: the public C API of libllmct.
 *
 * Conventions
 *  - Fallible functions return lct_status and take an `lct_error *err` last; on failure *err holds one message:
 *    what failed, expected, actual, where. `err` may be NULL.
 *  - Who creates destroys: every `lct_X_open/new` has an `lct_X_free`, which accepts NULL.
 *  - Strings are UTF-8, NUL-terminated unless a length is given. Parameters are borrowed.
 *  - The library never prints and never exits; it reports through lct_error and the callbacks below.
 *  - Handles may be used from one thread at a time; different handles are independent.
 */
#ifndef LLMCT_LLMCT_H
#define LLMCT_LLMCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LCT_API __attribute__((visibility("default")))
#define LCT_CHECKED __attribute__((warn_unused_result))
#define LCT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define LCT_API
#define LCT_CHECKED
#define LCT_PRINTF(fmt, args)
#endif

#define LCT_VERSION "0.1.0"

typedef enum {
  LCT_OK = 0,
  LCT_E_USAGE,       /* the caller asked for something that makes no sense */
  LCT_E_IO,          /* the operating system said no: missing file, full disk, permissions */
  LCT_E_FORMAT,      /* a file or a text is not what it claims to be */
  LCT_E_UNSUPPORTED, /* well-formed, but nothing here can handle it */
  LCT_E_NOMEM,       /* memory could not be had */
  LCT_E_LIMIT,       /* a stated limit is exceeded: context length, nesting, size */
  LCT_E_NUMERIC,     /* NaN or Inf where a number must be */
  LCT_E_CANCELLED,   /* the caller's cancel flag was set */
  LCT_E_INTERNAL     /* a library below us failed in a way that should not happen */
} lct_status;

typedef struct {
  lct_status code;
  char message[2048];
} lct_error;

/* "0.1.0 (oneDNN 2.6.3, no CUDA)": static storage. */
LCT_API const char *lct_version(void);

/* One message of a conversation. content may hold any bytes; invalid UTF-8 is replaced before use. */
typedef struct {
  const char *role; /* "system", "user", "assistant" */
  const char *content;
  size_t content_len;
} lct_message;

#ifdef __cplusplus
}
#endif
#endif
