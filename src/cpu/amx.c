#include "cpu/amx.h"

#if defined(__x86_64__) && (__GNUC__ >= 11 || __clang_major__ >= 12) /* older compilers do not know AMX */
#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AMX __attribute__((target("amx-tile,amx-bf16,avx512f")))

enum {
  TILE = 16,               /* rows of a tile, and floats of its rows */
  ASK_PERMISSION = 0x1023, /* arch_prctl: ARCH_REQ_XCOMP_PERM */
  TILE_DATA = 18,          /* the state component */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool available;

static void ask(void) {
  unsigned a, b, c, d;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return;
  bool bf16 = (d >> 22 & 1) != 0, tiles = (d >> 24 & 1) != 0;
  available = bf16 && tiles && __builtin_cpu_supports("avx512f") && syscall(SYS_arch_prctl, ASK_PERMISSION, TILE_DATA) == 0;
}

bool lct_amx_available(void) {
  (void)pthread_once(&once, ask);
  return available;
}

typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_shapes;

/* Tiles 0 to 3: sums, two rows of tiles of 16 columns each; 4, 5: x; 6, 7: the panel. n_rows from 1 to 32. */
AMX static void set_shapes(int n_rows) {
  tile_shapes t = {.palette = 1};
  for (int i = 0; i < 8; i++) {
    bool second = i == 2 || i == 3 || i == 5;
    int rows = i >= 6 ? TILE : second ? n_rows - TILE : n_rows < TILE ? n_rows : TILE;
    t.rows[i] = (uint8_t)(rows > 0 ? rows : 1);
    t.row_bytes[i] = TILE * sizeof(float);
  }
  _tile_loadconfig(&t);
}

/* Sums (32, 32) of at most 32 rows; of at most 16 unless `two`, a constant. */
AMX static inline __attribute__((always_inline)) void sum_tiles(bool two, const uint16_t *x, int64_t ldx, int k, const uint16_t *panel,
                                                                float *sums) {
  size_t stride = (size_t)ldx * sizeof *x, panel_stride = LCT_AMX_COLS * 2 * sizeof *panel, sums_stride = LCT_AMX_COLS * sizeof *sums;
  _tile_zero(0);
  _tile_zero(1);
  if (two) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int i = 0; i < k; i += LCT_AMX_K) {
    _tile_loadd(4, x + i, stride);
    _tile_loadd(6, panel + (int64_t)i * LCT_AMX_COLS, panel_stride);
    _tile_loadd(7, panel + (int64_t)i * LCT_AMX_COLS + LCT_AMX_COLS, panel_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (!two) continue;
    _tile_loadd(5, x + TILE * ldx + i, stride);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, sums_stride);
  _tile_stored(1, sums + TILE, sums_stride);
  if (!two) return;
  _tile_stored(2, sums + TILE * LCT_AMX_COLS, sums_stride);
  _tile_stored(3, sums + TILE * LCT_AMX_COLS + TILE, sums_stride);
}

AMX static void add_bias(const float *sums, const float *bias, int n_rows, int n_cols, float *y, int64_t ldy) {
  for (int r = 0; r < n_rows; r++) {
    const float *from = sums + r * LCT_AMX_COLS;
    float *to = y + r * ldy;
    if (n_cols == LCT_AMX_COLS) {
      _mm512_storeu_ps(to, _mm512_add_ps(_mm512_load_ps(from), _mm512_loadu_ps(bias)));
      _mm512_storeu_ps(to + TILE, _mm512_add_ps(_mm512_load_ps(from + TILE), _mm512_loadu_ps(bias + TILE)));
    } else {
      for (int c = 0; c < n_cols; c++) to[c] = from[c] + bias[c];
    }
  }
}

AMX void lct_amx_panel(const uint16_t *x, int64_t ldx, int n_rows, int k, const uint16_t *panel, const float *bias, int n_cols, float *y,
                       int64_t ldy) {
  _Alignas(64) float sums[LCT_AMX_ROWS * LCT_AMX_COLS];
  int shaped = 0;
  for (int r = 0; r < n_rows; r += LCT_AMX_ROWS) {
    int n = n_rows - r < LCT_AMX_ROWS ? n_rows - r : LCT_AMX_ROWS;
    if (n != shaped) set_shapes(n);
    shaped = n;
    if (n > TILE) sum_tiles(true, x + r * ldx, ldx, k, panel, sums);
    else sum_tiles(false, x + r * ldx, ldx, k, panel, sums);
    add_bias(sums, bias, n, n_cols, y + r * ldy, ldy);
  }
}

AMX void lct_amx_release(void) { _tile_release(); }

#else

bool lct_amx_available(void) { return false; }

void lct_amx_panel(const uint16_t *x, int64_t ldx, int n_rows, int k, const uint16_t *panel, const float *bias, int n_cols, float *y,
                   int64_t ldy) {
  (void)x, (void)ldx, (void)n_rows, (void)k, (void)panel, (void)bias, (void)n_cols, (void)y, (void)ldy;
}

void lct_amx_release(void) {}

#endif
