// Pools, upsampling, joining of channels, cropping. One thread an element of what is written.

// The largest value under each window and its pixel within the image: of equals the first, and a NaN beats all. `argmax`
// may be null (inference).
KERNEL(max_pool_forward, (const float* x, float* y, u32* argmax, Windowed s)) {
    u32 i = element();
    u32 c = s.c;
    if (i >= (u32)s.n * s.oh * s.ow * c) return;
    Pixel o = pixel_at(i / c, s.oh, s.ow);
    float best = 0.0f;
    u32 winner = 0xFFFFFFFFu;
    for (int ky = 0; ky < s.kh; ky++) {
        int iy = o.y * s.stride - s.pad_y + ky;
        if (iy < 0 || iy >= s.h) continue;
        for (int kx = 0; kx < s.kw; kx++) {
            int ix = o.x * s.stride - s.pad_x + kx;
            if (ix < 0 || ix >= s.w) continue;
            float value = x[offset(o.n, iy, ix, s.h, s.w, c) + i % c];
            if (winner == 0xFFFFFFFFu || value > best || value != value) {
                best = value;
                winner = (u32)(iy * s.w + ix);
            }
        }
    }
    y[i] = best;
    if (argmax) argmax[i] = winner;
}

// dx (+)= the gradients of the windows that this pixel won, gathered window by window.
KERNEL(max_pool_backward, (const float* dy, const u32* argmax, float* dx, Windowed s, int add)) {
    u32 i = element();
    u32 c = s.c;
    if (i >= (u32)s.n * s.h * s.w * c) return;
    Pixel p = pixel_at(i / c, s.h, s.w);
    u32 pixel = (u32)(p.y * s.w + p.x);
    float sum = 0.0f;
    for (int ky = s.kh - 1; ky >= 0; ky--) {
        int ty = p.y + s.pad_y - ky;
        if (ty < 0 || ty % s.stride || ty / s.stride >= s.oh) continue;
        for (int kx = s.kw - 1; kx >= 0; kx--) {
            int tx = p.x + s.pad_x - kx;
            if (tx < 0 || tx % s.stride || tx / s.stride >= s.ow) continue;
            u32 at = offset(p.n, ty / s.stride, tx / s.stride, s.oh, s.ow, c) + i % c;
            if (argmax[at] == pixel) sum += dy[at];
        }
    }
    put(dx + i, sum, add);
}

// dx[n, pixel, c] (+)= factor * dy[n, c]
KERNEL(broadcast_pixels, (const float* dy, float* dx, u32 len, u32 image, u32 c, float factor, int add)) {
    u32 i = element();
    if (i < len) put(dx + i, factor * dy[i / image * c + i % c], add);
}

// y[2i+a, 2j+b] = x[i, j]
KERNEL(nearest2x_forward, (const float* x, float* y, int n, int h, int w, u32 c)) {
    u32 i = element();
    if (i >= (u32)n * 4 * h * w * c) return;
    Pixel o = pixel_at(i / c, 2 * h, 2 * w);
    y[i] = x[offset(o.n, o.y / 2, o.x / 2, h, w, c) + i % c];
}

KERNEL(nearest2x_backward, (const float* dy, float* dx, int n, int h, int w, u32 c, int add)) {
    u32 i = element();
    if (i >= (u32)n * h * w * c) return;
    Pixel p = pixel_at(i / c, h, w);
    float sum = 0.0f;
    for (int a = 0; a < 4; a++) sum += dy[offset(p.n, 2 * p.y + a / 2, 2 * p.x + a % 2, 2 * h, 2 * w, c) + i % c];
    put(dx + i, sum, add);
}

// The neighbour, beside o / 2, of position o of a doubled axis of `len` pixels (half-pixel centres).
__device__ inline int neighbour(int o, int len) {
    int i = o / 2;
    return o % 2 == 0 ? (i > 0 ? i - 1 : 0) : (i + 1 < len ? i + 1 : len - 1);
}

KERNEL(bilinear2x_forward, (const float* x, float* y, int n, int h, int w, u32 c)) {
    u32 i = element();
    if (i >= (u32)n * 4 * h * w * c) return;
    u32 channel = i % c;
    Pixel o = pixel_at(i / c, 2 * h, 2 * w);
    int y0 = o.y / 2, y1 = neighbour(o.y, h), x0 = o.x / 2, x1 = neighbour(o.x, w);
    float near = 0.75f * x[offset(o.n, y0, x0, h, w, c) + channel] + 0.25f * x[offset(o.n, y0, x1, h, w, c) + channel];
    float far = 0.75f * x[offset(o.n, y1, x0, h, w, c) + channel] + 0.25f * x[offset(o.n, y1, x1, h, w, c) + channel];
    y[i] = 0.75f * near + 0.25f * far;
}

// The weight with which position o of the doubled axis reads position i.
__device__ inline float doubled_weight(int o, int i, int len) {
    return (o / 2 == i ? 0.75f : 0.0f) + (neighbour(o, len) == i ? 0.25f : 0.0f);
}

KERNEL(bilinear2x_backward, (const float* dy, float* dx, int n, int h, int w, u32 c, int add)) {
    u32 i = element();
    if (i >= (u32)n * h * w * c) return;
    Pixel p = pixel_at(i / c, h, w);
    float sum = 0.0f;
    for (int oy = 2 * p.y - 1; oy <= 2 * p.y + 2; oy++) {
        if (oy < 0 || oy >= 2 * h) continue;
        float row = 0.0f;
        for (int ox = 2 * p.x - 1; ox <= 2 * p.x + 2; ox++) {
            if (ox < 0 || ox >= 2 * w) continue;
            row += doubled_weight(ox, p.x, w) * dy[offset(p.n, oy, ox, 2 * h, 2 * w, c) + i % c];
        }
        sum += doubled_weight(oy, p.y, h) * row;
    }
    put(dx + i, sum, add);
}

// y[pixel, to + k] (+)= x[pixel, from + k] for k < channels, of pixels of `x_channels` and `y_channels`
KERNEL(copy_channels, (const float* x, float* y, u32 pixels, u32 channels, u32 x_channels, u32 from, u32 y_channels,
                       u32 to, int add)) {
    u32 i = element();
    if (i >= pixels * channels) return;
    u32 pixel = i / channels, k = i % channels;
    put(y + pixel * y_channels + to + k, x[pixel * x_channels + from + k], add);
}

// y = x without `margin` pixels on every side; h and w are x's
KERNEL(crop_forward, (const float* x, float* y, int n, int h, int w, u32 c, int margin)) {
    u32 i = element();
    int oh = h - 2 * margin, ow = w - 2 * margin;
    if (i >= (u32)n * oh * ow * c) return;
    Pixel o = pixel_at(i / c, oh, ow);
    y[i] = x[offset(o.n, o.y + margin, o.x + margin, h, w, c) + i % c];
}

KERNEL(crop_backward, (const float* dy, float* dx, int n, int h, int w, u32 c, int margin, int add)) {
    u32 i = element();
    if (i >= (u32)n * h * w * c) return;
    int oh = h - 2 * margin, ow = w - 2 * margin;
    Pixel p = pixel_at(i / c, h, w);
    int oy = p.y - margin, ox = p.x - margin;
    bool inside = oy >= 0 && oy < oh && ox >= 0 && ox < ow;
    put(dx + i, inside ? dy[offset(p.n, oy, ox, oh, ow, c) + i % c] : 0.0f, add);
}
