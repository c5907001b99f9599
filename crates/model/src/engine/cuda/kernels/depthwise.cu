// Depthwise convolution; weights [kh, kw, c].

// y = act(conv(x) * scale + shift); scale and shift may be null. One thread an output element.
KERNEL(depthwise_forward, (const float* x, const float* w, const float* scale, const float* shift, float* y,
                           Windowed s, int kind)) {
    u32 i = element();
    u32 c = s.c;
    if (i >= (u32)s.n * s.oh * s.ow * c) return;
    u32 channel = i % c;
    Pixel o = pixel_at(i / c, s.oh, s.ow);
    float sum = 0.0f;
    for (int ky = 0; ky < s.kh; ky++) {
        int iy = o.y * s.stride - s.pad_y + ky;
        if (iy < 0 || iy >= s.h) continue;
        for (int kx = 0; kx < s.kw; kx++) {
            int ix = o.x * s.stride - s.pad_x + kx;
            if (ix < 0 || ix >= s.w) continue;
            sum += x[offset(o.n, iy, ix, s.h, s.w, c) + channel] * w[(ky * s.kw + kx) * c + channel];
        }
    }
    if (scale) sum *= scale[channel];
    if (shift) sum += shift[channel];
    y[i] = activate(kind, sum);
}

// dx (+)= the gradient with respect to x. One thread an input element.
KERNEL(depthwise_backward_input, (const float* dy, const float* w, float* dx, Windowed s, int add)) {
    u32 i = element();
    u32 c = s.c;
    if (i >= (u32)s.n * s.h * s.w * c) return;
    u32 channel = i % c;
    Pixel p = pixel_at(i / c, s.h, s.w);
    float sum = 0.0f;
    for (int ky = 0; ky < s.kh; ky++) {
        int ty = p.y + s.pad_y - ky;
        if (ty < 0 || ty % s.stride || ty / s.stride >= s.oh) continue;
        for (int kx = 0; kx < s.kw; kx++) {
            int tx = p.x + s.pad_x - kx;
            if (tx < 0 || tx % s.stride || tx / s.stride >= s.ow) continue;
            u32 at = offset(p.n, ty / s.stride, tx / s.stride, s.oh, s.ow, c);
            sum += dy[at + channel] * w[(ky * s.kw + kx) * c + channel];
        }
    }
    put(dx + i, sum, add);
}

struct TapTerm {
    const float *x, *dy;
    Windowed s;
    int ky, kx;
    __device__ void operator()(u32 row, u32 channel, float* sums) const {
        Pixel o = pixel_at(row, s.oh, s.ow);
        int iy = o.y * s.stride - s.pad_y + ky, ix = o.x * s.stride - s.pad_x + kx;
        if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) return;
        sums[0] += x[offset(o.n, iy, ix, s.h, s.w, s.c) + channel] * dy[row * (u32)s.c + channel];
    }
};

// Partial sums of the weights' gradient over output pixels; a segment of the grid is a tap.
KERNEL(depthwise_backward_weight, (const float* x, const float* dy, float* partials, Windowed s, u32 rows_per_chunk)) {
    __shared__ float shared[THREADS];
    TapTerm term = {x, dy, s, (int)(blockIdx.z / s.kw), (int)(blockIdx.z % s.kw)};
    u32 rows = (u32)s.n * s.oh * s.ow;
    column_sums<1>(term, chunk_rows(rows, rows_per_chunk), s.c, partials, shared);
}
