/* What every header of libllmct begins with: marks of functions, and how a call fails. llmct.h includes it. */
#ifndef LLMCT_STATUS_H
#define LLMCT_STATUS_H

#if defined(__GNUC__)
#define LCT_API __attribute__((visibility("default")))
#define LCT_CHECKED __attribute__((warn_unused_result))
#define LCT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define LCT_API
#define LCT_CHECKED
#define LCT_PRINTF(fmt, args)
#endif

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
  LCT_E_DEVICE,      /* the GPU failed; its engine cannot be used any more */
  LCT_E_INTERNAL     /* a library below us failed in a way that should not happen */
} lct_status;

typedef struct {
  lct_status code;
  char message[2048];
} lct_error;

#endif
