// The floor: the same rounds by hand for one network (8-64-32-1, ReLU) on all cores, with nothing else around them.
// Weights lie as in the flat vector of the network: W1 (64, 8), b1, W2 (32, 64), b2, w3 (32), b3.
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#define F 8
#define H1 64
#define H2 32
#define BATCH 32
#define BLOCK 100
#define MAX_ROWS 1024
#define MAX_THREADS 64
#define CHUNK 8

typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t i16 __attribute__((vector_size(64)));
typedef struct { float w1[F][H1], b1[H1], w2[H1][H2], b2[H2], w3[H2], b3; } Weights;
#define NUM_WEIGHTS (sizeof(Weights) / sizeof(float))

static inline v16 wide(float a) { return (v16){a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a}; }
static inline v16 where_positive(v16 x, v16 value) { return (v16)((i16)value & (x > 0)); }
#define AT(p) (*(v16 *)(p))

// Four rows by 32 columns of A B + initial, held in registers; `i` is the row in A_I, `k` runs over the depth.
#define TILE(A_I, B_K, DEPTH, LOW, HIGH) \
  v16 c00 = LOW, c01 = HIGH, c10 = c00, c11 = c01, c20 = c00, c21 = c01, c30 = c00, c31 = c01; \
  for (int k = 0; k < (DEPTH); k++) { \
    const float *b = B_K; \
    v16 low = *(const v16 *)b, high = *(const v16 *)(b + 16), a; \
    { enum { i = 0 }; a = wide(A_I); c00 += a * low; c01 += a * high; } \
    { enum { i = 1 }; a = wide(A_I); c10 += a * low; c11 += a * high; } \
    { enum { i = 2 }; a = wide(A_I); c20 += a * low; c21 += a * high; } \
    { enum { i = 3 }; a = wide(A_I); c30 += a * low; c31 += a * high; } \
  }
#define EACH(PUT) PUT(0, 0, c00) PUT(0, 16, c01) PUT(1, 0, c10) PUT(1, 16, c11) \
  PUT(2, 0, c20) PUT(2, 16, c21) PUT(3, 0, c30) PUT(3, 16, c31)

// `rows` is a multiple of four.
static inline void forward(const float *x, int rows, const Weights *w, float (*a1)[H1], float (*a2)[H2], float *z) {
  for (int r = 0; r < rows; r += 4) {
    for (int h = 0; h < H1; h += 32) {
      TILE(x[(r + i) * F + k], &w->w1[k][h], F, AT(&w->b1[h]), AT(&w->b1[h + 16]))
#define PUT(I, O, V) AT(&a1[r + I][h + O]) = where_positive(V, V);
      EACH(PUT)
#undef PUT
    }
    TILE(a1[r + i][k], w->w2[k], H1, AT(&w->b2[0]), AT(&w->b2[16]))
#define PUT(I, O, V) AT(&a2[r + I][O]) = where_positive(V, V);
    EACH(PUT)
#undef PUT
  }
  for (int r = 0; r < rows; r++) {
    float sum = w->b3;
    for (int j = 0; j < H2; j++) sum += a2[r][j] * w->w3[j];
    z[r] = sum;
  }
}

static void step(const float *x, const float *y, int rows, int padded, Weights *w, float rate) {
  float a1[BATCH][H1] __attribute__((aligned(64))), a2[BATCH][H2] __attribute__((aligned(64)));
  float d1[BATCH][H1] __attribute__((aligned(64))), d2[BATCH][H2] __attribute__((aligned(64)));
  float back[H2][H1] __attribute__((aligned(64))), z[BATCH], e[BATCH], slope3[H2] = {0}, sum = 0;
  forward(x, padded, w, a1, a2, z);
  for (int r = 0; r < padded; r++) {
    e[r] = (r < rows) * (1.0f / (1.0f + expf(-z[r])) - y[r]) / rows;
    sum += e[r];
  }
  for (int k = 0; k < H1; k++) for (int j = 0; j < H2; j++) back[j][k] = w->w2[k][j];
  for (int r = 0; r < padded; r++) for (int j = 0; j < H2; j++) {
    slope3[j] += e[r] * a2[r][j];
    d2[r][j] = a2[r][j] > 0 ? e[r] * w->w3[j] : 0;
  }
  for (int j = 0; j < H2; j++) w->w3[j] -= rate * slope3[j];
  w->b3 -= rate * sum;
  for (int r = 0; r < padded; r += 4) for (int h = 0; h < H1; h += 32) {
    TILE(d2[r + i][k], &back[k][h], H2, (v16){0}, (v16){0})
#define PUT(I, O, V) AT(&d1[r + I][h + O]) = where_positive(AT(&a1[r + I][h + O]), V);
    EACH(PUT)
#undef PUT
  }
  for (int n = 0; n < H1; n += 4) {
    TILE(a1[k][n + i], d2[k], padded, (v16){0}, (v16){0})
#define PUT(I, O, V) AT(&w->w2[n + I][O]) -= rate * V;
    EACH(PUT)
#undef PUT
  }
  for (int n = 0; n < F; n += 4) for (int h = 0; h < H1; h += 32) {
    TILE(x[k * F + n + i], &d1[k][h], padded, (v16){0}, (v16){0})
#define PUT(I, O, V) AT(&w->w1[n + I][h + O]) -= rate * V;
    EACH(PUT)
#undef PUT
  }
  for (int r = 0; r < padded; r++) for (int j = 0; j < H2; j++) w->b2[j] -= rate * d2[r][j];
  for (int r = 0; r < padded; r++) for (int j = 0; j < H1; j++) w->b1[j] -= rate * d1[r][j];
}

static inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// Sort row numbers by hashed key, as the library does: 128 buckets by the highest bits, then insertion.
static void draw(uint64_t key, int rows, int *order) {
  uint64_t words[MAX_ROWS], base = key ^ mix(1);
  int ends[129] = {0};
  for (int r = 0; r < rows; r++) words[r] = mix(base + (r + 1) * 0x9E3779B97F4A7C15u);
  for (int r = 0; r < rows; r++) ends[(words[r] >> 57) + 1]++;
  for (int i = 0; i < 128; i++) ends[i + 1] += ends[i];
  for (int r = 0; r < rows; r++) order[ends[words[r] >> 57]++] = r;
  for (int r = 1; r < rows; r++) {
    int moved = order[r], at = r;
    for (; at > 0 && words[order[at - 1]] > words[moved]; at--) order[at] = order[at - 1];
    order[at] = moved;
  }
}

static void load(Weights *w, const float *v) {
  for (int j = 0; j < H1; j++) for (int k = 0; k < F; k++) w->w1[k][j] = v[j * F + k];
  memcpy(w->b1, v + H1 * F, sizeof w->b1);
  v += H1 * F + H1;
  for (int j = 0; j < H2; j++) for (int k = 0; k < H1; k++) w->w2[k][j] = v[j * H1 + k];
  v += H1 * H2;
  memcpy(w->b2, v, sizeof w->b2);
  memcpy(w->w3, v + H2, sizeof w->w3);
  w->b3 = v[2 * H2];
}

static void store(const Weights *w, float *v) {
  for (int j = 0; j < H1; j++) for (int k = 0; k < F; k++) v[j * F + k] = w->w1[k][j];
  memcpy(v + H1 * F, w->b1, sizeof w->b1);
  v += H1 * F + H1;
  for (int j = 0; j < H2; j++) for (int k = 0; k < H1; k++) v[j * H1 + k] = w->w2[k][j];
  v += H1 * H2;
  memcpy(v, w->b2, sizeof w->b2);
  memcpy(v + H2, w->w3, sizeof w->w3);
  v[2 * H2] = w->b3;
}

typedef struct {
  const float *x, *y;
  const uint64_t *keys;
  int64_t clients, rows;
  float rate;
  Weights start;
  atomic_llong next;
} Job;
typedef struct { Job *job; Weights sum; double loss; } Share;

static void *train_share(void *argument) {
  Share *share = argument;
  Job *job = share->job;
  int n = (int)job->rows, order[MAX_ROWS];
  float x[BATCH * F] __attribute__((aligned(64))), y[BATCH], *sum = (float *)&share->sum;
  memset(&share->sum, 0, sizeof share->sum);
  for (int64_t first; (first = atomic_fetch_add(&job->next, CHUNK)) < job->clients;)
    for (int64_t c = first; c < first + CHUNK && c < job->clients; c++) {
      Weights w = job->start;
      const float *own_x = job->x + c * n * F, *own_y = job->y + c * n;
      draw(job->keys[c], n, order);
      for (int s = 0; s < n; s += BATCH) {
        int rows = n - s < BATCH ? n - s : BATCH, padded = (rows + 3) & ~3;
        for (int r = 0; r < padded; r++) {
          int q = order[r < rows ? s + r : s];
          memcpy(x + r * F, own_x + q * F, F * sizeof(float));
          y[r] = own_y[q];
        }
        step(x, y, rows, padded, &w, job->rate);
      }
      for (size_t j = 0; j < NUM_WEIGHTS; j++) sum[j] += ((float *)&w)[j] - ((float *)&job->start)[j];
    }
  return NULL;
}

static void *score_share(void *argument) {
  Share *share = argument;
  Job *job = share->job;
  int64_t rows = job->clients * job->rows;
  float a1[BLOCK][H1] __attribute__((aligned(64))), a2[BLOCK][H2] __attribute__((aligned(64)));
  float x[BLOCK * F] __attribute__((aligned(64))), z[BLOCK];
  share->loss = 0;
  for (int64_t first; (first = atomic_fetch_add(&job->next, BLOCK)) < rows;) {
    int n = rows - first < BLOCK ? (int)(rows - first) : BLOCK;
    memcpy(x, job->x + first * F, n * F * sizeof(float));
    forward(x, (n + 3) & ~3, &job->start, a1, a2, z);
    float loss = 0;
    for (int r = 0; r < n; r++)
      loss += (1 - job->y[first + r]) * z[r] + (z[r] < 0 ? -z[r] : 0) + logf(1 + expf(-fabsf(z[r])));
    share->loss += loss;
  }
  return NULL;
}

static void spread(Job *job, void *(*work)(void *), Share *shares, int threads) {
  pthread_t ids[MAX_THREADS];
  atomic_store(&job->next, 0);
  for (int t = 0; t < threads; t++) shares[t].job = job;
  for (int t = 1; t < threads; t++) pthread_create(&ids[t], NULL, work, &shares[t]);
  work(&shares[0]);
  for (int t = 1; t < threads; t++) pthread_join(ids[t], NULL);
}

// Train every client from `weights` (2689), replace them by the mean, and return the mean log loss of the new ones.
double floor_round(const float *x, const float *y, const uint64_t *keys, int64_t clients, int64_t rows, float rate,
                   float *weights, int threads) {
  static Share shares[MAX_THREADS];
  Job job = {.x = x, .y = y, .keys = keys, .clients = clients, .rows = rows, .rate = rate};
  load(&job.start, weights);
  spread(&job, train_share, shares, threads);
  for (int t = 0; t < threads; t++)
    for (size_t j = 0; j < NUM_WEIGHTS; j++) ((float *)&job.start)[j] += ((float *)&shares[t].sum)[j] / clients;
  store(&job.start, weights);
  spread(&job, score_share, shares, threads);
  double loss = 0;
  for (int t = 0; t < threads; t++) loss += shares[t].loss;
  return loss / (clients * rows);
}
