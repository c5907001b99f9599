// Mean of features over the region that a class map predicts, as the host's `kernels::region_pool`: a pixel's weight is
// the probability of all of the map's classes but the first.

// e^(z - largest) of a pixel's first class, and the sum of the others'.
struct Exponentials {
    float first, others, largest;
};

template <class E, int N> __device__ inline Exponentials exponentials(const E* logits, u32 classes) {
    Exponentials e = {0.0f, 0.0f, value_at(logits)};
    float v[N];
    for (u32 c = 0; c < classes; c += N) {
        load<N>(logits + c, v);
        for (int j = 0; j < N; j++) e.largest = v[j] > e.largest ? v[j] : e.largest;
    }
    for (u32 c = 0; c < classes; c += N) {
        load<N>(logits + c, v);
        for (int j = 0; j < N; j++) (c + j == 0 ? e.first : e.others) += fast_exp(v[j] - e.largest);
    }
    return e;
}

// sums[i] = the weights of pixels side * i .. side * (i + 1) of the map, all of one row
template <class E, int N> __device__ inline void region_rows(In map, float* sums, u32 count, u32 side, u32 classes) {
    u32 i = element();
    if (i >= count) return;
    const E* pixels = (const E*)map + i * side * classes;
    float sum = 0.0f;
    for (u32 k = 0; k < side; k++) {
        Exponentials e = exponentials<E, N>(pixels + k * classes, classes);
        sum += e.others / (e.first + e.others);
    }
    sums[i] = sum;
}
KERNELS(region_rows, (In map, float* sums, u32 count, u32 side, u32 classes), (map, sums, count, side, classes))

// weights[q] = the mean weight of the map's side x side pixels that pixel q of features of `w` columns covers
KERNEL(region_weights, (const float* rows, float* weights, u32 count, u32 side, u32 w)) {
    u32 q = element();
    if (q >= count) return;
    const float* first = rows + q / w * side * w + q % w;
    float sum = 0.0f;
    for (u32 k = 0; k < side; k++) sum += first[k * w];
    weights[q] = sum / (float)(side * side);
}

template <class E, int N> struct WeightedTerm {
    const E* x;
    const float* weights;
    u32 c;
    __device__ void operator()(u32 row, u32 channel, float (&sums)[1][N]) const {
        float v[N], weight = weights[row];
        load<N>(x + row * c + channel, v);
        for (int j = 0; j < N; j++) sums[0][j] += weight * v[j];
    }
};

// Sums of x over the pixels of each image, weighted by pixel.
template <class E, int N>
__device__ inline void weighted_sums(In x, const float* weights, float* partials, u32 rows, u32 rows_per_chunk, u32 c,
                                     float* shared) {
    u32 first = blockIdx.z * rows;
    WeightedTerm<E, N> term = {(const E*)x + first * c, weights + first, c};
    column_sums<1, N>(term, chunk_rows(rows, rows_per_chunk), c, shared, [&](u32 channel, const float (&sums)[1]) {
        *partial_at(partials, 1, 0, c, channel) = sums[0];
    });
}
COLUMN_KERNELS(weighted_sums, 1, (In x, const float* weights, float* partials, u32 rows, u32 rows_per_chunk, u32 c), x,
               weights, partials, rows, rows_per_chunk, c)

// y[n, c] /= totals[n] + eps
KERNEL(region_mean, (float* y, const float* totals, u32 len, u32 c, float eps)) {
    u32 i = element();
    if (i < len) y[i] /= totals[i / c] + eps;
}

// dx[q, c] (+)= dy[n, c] * weights[q] / (totals[n] + eps)
template <class E, int N>
__device__ inline void region_backward_features(const float* dy, const float* weights, const float* totals, Out dx, u32 len,
                                                u32 area, u32 c, float eps, int add) {
    u32 i = element() * N;
    if (i >= len) return;
    u32 q = i / c, n = q / area;
    float v[N], share = weights[q] / (totals[n] + eps);
    load<N>(dy + n * c + i % c, v);
    for (int j = 0; j < N; j++) v[j] *= share;
    put<N>((E*)dx + i, v, add);
}
KERNELS(region_backward_features,
        (const float* dy, const float* weights, const float* totals, Out dx, u32 len, u32 area, u32 c, float eps, int add),
        (dy, weights, totals, dx, len, area, c, eps, add))

// dots[q] = the sum over channels of dy[n] * x[q]
template <class E, int N> __device__ inline void region_dots(In x, const float* dy, float* dots, u32 count, u32 area, u32 c) {
    u32 q = element();
    if (q >= count) return;
    const E* pixel = (const E*)x + q * c;
    const float* gradient = dy + q / area * c;
    float sum = 0.0f;
    for (u32 k = 0; k < c; k += N) {
        float v[N], g[N];
        load<N>(pixel + k, v);
        load<N>(gradient + k, g);
        for (int j = 0; j < N; j++) sum += v[j] * g[j];
    }
    dots[q] = sum;
}
KERNELS(region_dots, (In x, const float* dy, float* dots, u32 count, u32 area, u32 c), (x, dy, dots, count, area, c))

// The gradient of a pixel's logits, from that of its weight; products[n] is the sum of weights * dots of an image.
template <class E, int N>
__device__ inline void region_backward_map(In map, const float* dots, const float* products, const float* totals, Out dmap,
                                           u32 pixels, u32 side, u32 w, u32 area, u32 classes, float eps, int add) {
    u32 p = element();
    if (p >= pixels) return;
    u32 width = w * side, q = p / width / side * w + p % width / side, n = q / area;
    float total = totals[n] + eps;
    float gradient = (dots[q] - products[n] / total) / (total * (float)(side * side));
    const E* logits = (const E*)map + p * classes;
    Exponentials e = exponentials<E, N>(logits, classes);
    float sum = e.first + e.others, scaled = gradient * e.first / sum;
    for (u32 c = 0; c < classes; c += N) {
        float v[N];
        load<N>(logits + c, v);
        for (int j = 0; j < N; j++) v[j] = scaled * (c + j == 0 ? -e.others : fast_exp(v[j] - e.largest)) / sum;
        put<N>((E*)dmap + p * classes + c, v, add);
    }
}
KERNELS(region_backward_map,
        (In map, const float* dots, const float* products, const float* totals, Out dmap, u32 pixels, u32 side, u32 w,
         u32 area, u32 classes, float eps, int add),
        (map, dots, products, totals, dmap, pixels, side, w, area, classes, eps, add))
