// Pools, upsampling, concatenation of channels, cropping. A thread has N channels of a pixel of the output.

// The largest value under each window and the index of its pixel within the image: the first of equal values; a NaN is
// larger than any number. `argmax` may be null (inference).
template <class E, int N> __device__ inline void max_pool_forward(In x_, Out y, u32* argmax, Windowed s) {
    const E* x = (const E*)x_;
    u32 i = element() * N, c = s.c;
    if (i >= (u32)s.n * s.oh * s.ow * c) return;
    Pixel o = pixel_at(i / c, s.oh, s.ow);
    float best[N];
    u32 winner[N];
    for (int j = 0; j < N; j++) best[j] = 0.0f, winner[j] = 0xFFFFFFFFu;
    for (int ky = 0; ky < s.kh; ky++) {
        int iy = o.y * s.stride - s.pad_y + ky;
        if (iy < 0 || iy >= s.h) continue;
        for (int kx = 0; kx < s.kw; kx++) {
            int ix = o.x * s.stride - s.pad_x + kx;
            if (ix < 0 || ix >= s.w) continue;
            float v[N];
            load<N>(x + offset(o.n, iy, ix, s.h, s.w, c) + i % c, v);
            for (int j = 0; j < N; j++) {
                if (winner[j] == 0xFFFFFFFFu || v[j] > best[j] || v[j] != v[j]) {
                    best[j] = v[j];
                    winner[j] = (u32)(iy * s.w + ix);
                }
            }
        }
    }
    store<N>((E*)y + i, best);
    if (argmax)
        for (int j = 0; j < N; j++) argmax[i + j] = winner[j];
}
KERNELS(max_pool_forward, (In x, Out y, u32* argmax, Windowed s), (x, y, argmax, s))

// dx (+)= the gradients of the windows whose maximum is this pixel, gathered window by window.
template <class E, int N> __device__ inline void max_pool_backward(In dy, const u32* argmax, Out dx, Windowed s, int add) {
    u32 i = element() * N, c = s.c;
    if (i >= (u32)s.n * s.h * s.w * c) return;
    Pixel p = pixel_at(i / c, s.h, s.w);
    u32 pixel = (u32)(p.y * s.w + p.x);
    float sums[N] = {};
    for (int ky = s.kh - 1; ky >= 0; ky--) {
        int ty = p.y + s.pad_y - ky;
        if (ty < 0 || ty % s.stride || ty / s.stride >= s.oh) continue;
        for (int kx = s.kw - 1; kx >= 0; kx--) {
            int tx = p.x + s.pad_x - kx;
            if (tx < 0 || tx % s.stride || tx / s.stride >= s.ow) continue;
            u32 at = offset(p.n, ty / s.stride, tx / s.stride, s.oh, s.ow, c) + i % c;
            float g[N];
            load<N>((const E*)dy + at, g);
            for (int j = 0; j < N; j++)
                if (argmax[at + j] == pixel) sums[j] += g[j];
        }
    }
    put<N>((E*)dx + i, sums, add);
}
KERNELS(max_pool_backward, (In dy, const u32* argmax, Out dx, Windowed s, int add), (dy, argmax, dx, s, add))

// dx[n, pixel, c] (+)= factor * dy[n, c]
template <class E, int N>
__device__ inline void broadcast_pixels(const float* dy, Out dx, u32 len, u32 image, u32 c, float factor, int add) {
    u32 i = element() * N;
    if (i >= len) return;
    float v[N];
    load<N>(dy + i / image * c + i % c, v);
    for (int j = 0; j < N; j++) v[j] *= factor;
    put<N>((E*)dx + i, v, add);
}
KERNELS(broadcast_pixels, (const float* dy, Out dx, u32 len, u32 image, u32 c, float factor, int add),
        (dy, dx, len, image, c, factor, add))

// y[2i+a, 2j+b] = x[i, j]
template <class E, int N> __device__ inline void nearest2x_forward(In x, Out y, int n, int h, int w, u32 c) {
    u32 i = element() * N;
    if (i >= (u32)n * 4 * h * w * c) return;
    Pixel o = pixel_at(i / c, 2 * h, 2 * w);
    float v[N];
    load<N>((const E*)x + offset(o.n, o.y / 2, o.x / 2, h, w, c) + i % c, v);
    store<N>((E*)y + i, v);
}
KERNELS(nearest2x_forward, (In x, Out y, int n, int h, int w, u32 c), (x, y, n, h, w, c))

template <class E, int N> __device__ inline void nearest2x_backward(In dy, Out dx, int n, int h, int w, u32 c, int add) {
    u32 i = element() * N;
    if (i >= (u32)n * h * w * c) return;
    Pixel p = pixel_at(i / c, h, w);
    float sums[N] = {};
    for (int a = 0; a < 4; a++) {
        float g[N];
        load<N>((const E*)dy + offset(p.n, 2 * p.y + a / 2, 2 * p.x + a % 2, 2 * h, 2 * w, c) + i % c, g);
        for (int j = 0; j < N; j++) sums[j] += g[j];
    }
    put<N>((E*)dx + i, sums, add);
}
KERNELS(nearest2x_backward, (In dy, Out dx, int n, int h, int w, u32 c, int add), (dy, dx, n, h, w, c, add))

// The second source pixel, next to o / 2, of position o of a doubled axis of `len` pixels (half-pixel centres).
__device__ inline int neighbour(int o, int len) {
    int i = o / 2;
    return o % 2 == 0 ? (i > 0 ? i - 1 : 0) : (i + 1 < len ? i + 1 : len - 1);
}

template <class E, int N> __device__ inline void bilinear2x_forward(In x_, Out y, int n, int h, int w, u32 c) {
    const E* x = (const E*)x_;
    u32 i = element() * N;
    if (i >= (u32)n * 4 * h * w * c) return;
    u32 channel = i % c;
    Pixel o = pixel_at(i / c, 2 * h, 2 * w);
    int ys[2] = {o.y / 2, neighbour(o.y, h)}, xs[2] = {o.x / 2, neighbour(o.x, w)};
    float rows[2][N], v[N];
    for (int a = 0; a < 2; a++) {
        load<N>(x + offset(o.n, ys[a], xs[0], h, w, c) + channel, rows[a]);
        load<N>(x + offset(o.n, ys[a], xs[1], h, w, c) + channel, v);
        for (int j = 0; j < N; j++) rows[a][j] = 0.75f * rows[a][j] + 0.25f * v[j];
    }
    for (int j = 0; j < N; j++) v[j] = 0.75f * rows[0][j] + 0.25f * rows[1][j];
    store<N>((E*)y + i, v);
}
KERNELS(bilinear2x_forward, (In x, Out y, int n, int h, int w, u32 c), (x, y, n, h, w, c))

// The weight of position i in position o of the doubled axis.
__device__ inline float doubled_weight(int o, int i, int len) {
    return (o / 2 == i ? 0.75f : 0.0f) + (neighbour(o, len) == i ? 0.25f : 0.0f);
}

template <class E, int N> __device__ inline void bilinear2x_backward(In dy, Out dx, int n, int h, int w, u32 c, int add) {
    u32 i = element() * N;
    if (i >= (u32)n * h * w * c) return;
    Pixel p = pixel_at(i / c, h, w);
    float sums[N] = {};
    for (int oy = 2 * p.y - 1; oy <= 2 * p.y + 2; oy++) {
        if (oy < 0 || oy >= 2 * h) continue;
        float row[N] = {};
        for (int ox = 2 * p.x - 1; ox <= 2 * p.x + 2; ox++) {
            if (ox < 0 || ox >= 2 * w) continue;
            float g[N], weight = doubled_weight(ox, p.x, w);
            load<N>((const E*)dy + offset(p.n, oy, ox, 2 * h, 2 * w, c) + i % c, g);
            for (int j = 0; j < N; j++) row[j] += weight * g[j];
        }
        float weight = doubled_weight(oy, p.y, h);
        for (int j = 0; j < N; j++) sums[j] += weight * row[j];
    }
    put<N>((E*)dx + i, sums, add);
}
KERNELS(bilinear2x_backward, (In dy, Out dx, int n, int h, int w, u32 c, int add), (dy, dx, n, h, w, c, add))

// y[pixel, to + k] (+)= x[pixel, from + k] for k < channels; pixels have `x_channels` and `y_channels` channels
template <class E, int N>
__device__ inline void copy_channels(In x, Out y, u32 pixels, u32 channels, u32 x_channels, u32 from, u32 y_channels,
                                     u32 to, int add) {
    u32 i = element() * N;
    if (i >= pixels * channels) return;
    u32 pixel = i / channels, k = i % channels;
    float v[N];
    load<N>((const E*)x + pixel * x_channels + from + k, v);
    put<N>((E*)y + pixel * y_channels + to + k, v, add);
}
KERNELS(copy_channels,
        (In x, Out y, u32 pixels, u32 channels, u32 x_channels, u32 from, u32 y_channels, u32 to, int add),
        (x, y, pixels, channels, x_channels, from, y_channels, to, add))

// y = x without `margin` pixels on every side; h and w are x's
template <class E, int N> __device__ inline void crop_forward(In x, Out y, int n, int h, int w, u32 c, int margin) {
    u32 i = element() * N;
    int oh = h - 2 * margin, ow = w - 2 * margin;
    if (i >= (u32)n * oh * ow * c) return;
    Pixel o = pixel_at(i / c, oh, ow);
    float v[N];
    load<N>((const E*)x + offset(o.n, o.y + margin, o.x + margin, h, w, c) + i % c, v);
    store<N>((E*)y + i, v);
}
KERNELS(crop_forward, (In x, Out y, int n, int h, int w, u32 c, int margin), (x, y, n, h, w, c, margin))

template <class E, int N> __device__ inline void crop_backward(In dy, Out dx, int n, int h, int w, u32 c, int margin, int add) {
    u32 i = element() * N;
    if (i >= (u32)n * h * w * c) return;
    int oh = h - 2 * margin, ow = w - 2 * margin;
    Pixel p = pixel_at(i / c, h, w);
    int oy = p.y - margin, ox = p.x - margin;
    float v[N] = {};
    if (oy >= 0 && oy < oh && ox >= 0 && ox < ow) load<N>((const E*)dy + offset(p.n, oy, ox, oh, ow, c) + i % c, v);
    put<N>((E*)dx + i, v, add);
}
KERNELS(crop_backward, (In dy, Out dx, int n, int h, int w, u32 c, int margin, int add), (dy, dx, n, h, w, c, margin, add))
