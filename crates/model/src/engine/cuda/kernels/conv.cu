// Dense convolution; weights [kh, kw, cin, cout]. A linear layer is the 1x1 convolution of single pixels.

// What a convolution's input is joined from, along channels in order. Mirrors `Parts` on the host.
#define MOST_PARTS 8
struct Parts {
    const float* data[MOST_PARTS];
    int end[MOST_PARTS];      // channels of this part and those before it
    int doubled[MOST_PARTS];  // whether each pixel is read as 2x2, from half the height and width
};
static_assert(sizeof(Parts) == 128, "Parts is laid out as on the host");

// An output pixel: its image, and where its window starts.
struct Origin {
    int n, y, x;
};

__device__ inline Origin origin_of(const Windowed& s, u32 pixel) {
    Pixel o = pixel_at(pixel, s.oh, s.ow);
    return {o.n, o.y * s.stride - s.pad_y, o.x * s.stride - s.pad_x};
}

// An input value within a window: tap, part and channel.
struct Inner {
    const float* data;
    int ky, kx, channels, channel, shift;
};

// The ends of unused parts are the channels of all, so that none is found beyond the last. Unrolled, all indices are
// constants and `parts` stays where kernel arguments lie.
__device__ inline Inner inner_of(const Windowed& s, const Parts& parts, u32 k) {
    int tap = k / (u32)s.c, channel = k % (u32)s.c;
    const float* data = parts.data[0];
    int start = 0, end = parts.end[0], doubled = parts.doubled[0];
#pragma unroll
    for (int i = 1; i < MOST_PARTS; i++) {
        if (channel >= parts.end[i - 1]) {
            data = parts.data[i];
            start = parts.end[i - 1];
            end = parts.end[i];
            doubled = parts.doubled[i];
        }
    }
    return {data, tap / s.kw, tap % s.kw, end - start, channel - start, doubled};
}

__device__ inline float input_at(const Windowed& s, const Origin& o, const Inner& in) {
    int y = o.y + in.ky, x = o.x + in.kx;
    if (y < 0 || y >= s.h || x < 0 || x >= s.w) return 0.0f;
    return in.data[offset(o.n, y >> in.shift, x >> in.shift, s.h >> in.shift, s.w >> in.shift, in.channels) + in.channel];
}

// y[pixel, o] = act(conv * scale + shift): a row is an output pixel, a column a channel out.
struct ConvForward {
    typedef Origin Row;
    typedef u32 Col;
    struct Depth {
        Inner in;
        u32 row;
    };
    Windowed s;
    Parts parts;
    const float *w, *scale, *shift;
    float* y;
    int kind;
    __device__ Row row(u32 m) const { return origin_of(s, m); }
    __device__ Col col(u32 n) const { return n; }
    __device__ Depth depth(u32 k) const { return {inner_of(s, parts, k), k * s.oc}; }
    __device__ float a(const Row& r, const Depth& d) const { return input_at(s, r, d.in); }
    __device__ float b(const Depth& d, Col n) const { return w[d.row + n]; }
    __device__ void store(u32 m, u32 n, float sum) const {
        if (scale) sum *= scale[n];
        if (shift) sum += shift[n];
        y[m * s.oc + n] = activate(kind, sum);
    }
};

GEMM_KERNELS(conv_forward, true, false,
             (Windowed s, Parts parts, const float* w, const float* scale, const float* shift, float* y, int kind),
             ConvForward problem = {s, parts, w, scale, shift, y, kind}; u32 rows = (u32)s.n * s.oh * s.ow;
             u32 cols = s.oc; u32 k_begin = 0; u32 k_end = (u32)s.kh * s.kw * s.c;)

// The gradient of one part: a row is a pixel of the part, a column one of its channels, k an output channel seen through a
// tap. Of a doubled part, a pixel collects the gradients of its 2x2.
struct ConvBackwardInput {
    typedef Pixel Row;
    typedef u32 Col;
    struct Depth {
        int ky, kx, up, left, o;
        u32 tap;
    };
    Windowed s;
    const float *dy, *w;
    float* dx;
    int first, channels, doubled, add;
    __device__ Row row(u32 m) const { return pixel_at(m, s.h >> doubled, s.w >> doubled); }
    __device__ Col col(u32 n) const { return first + n; }
    __device__ Depth depth(u32 k) const {
        u32 window = k / (u32)s.oc, taps = s.kh * s.kw;
        u32 corner = window / taps, tap = window % taps;
        return {(int)(tap / s.kw), (int)(tap % s.kw), (int)(corner / 2), (int)(corner % 2), (int)(k % (u32)s.oc), tap};
    }
    __device__ float a(const Row& p, const Depth& d) const {
        int ty = (p.y << doubled) + d.up + s.pad_y - d.ky, tx = (p.x << doubled) + d.left + s.pad_x - d.kx;
        if (ty < 0 || tx < 0 || ty % s.stride || tx % s.stride) return 0.0f;
        int oy = ty / s.stride, ox = tx / s.stride;
        return oy < s.oh && ox < s.ow ? dy[offset(p.n, oy, ox, s.oh, s.ow, s.oc) + d.o] : 0.0f;
    }
    __device__ float b(const Depth& d, Col c) const { return w[(d.tap * s.c + c) * s.oc + d.o]; }
    __device__ void store(u32 m, u32 n, float sum) const { put(dx + m * channels + n, sum, add); }
};

GEMM_KERNELS(conv_backward_input, true, true,
             (Windowed s, const float* dy, const float* w, float* dx, int first, int channels, int doubled, int add),
             ConvBackwardInput problem = {s, dy, w, dx, first, channels, doubled, add};
             u32 rows = (u32)s.n * (s.h >> doubled) * (s.w >> doubled); u32 cols = channels; u32 k_begin = 0;
             u32 k_end = (u32)s.kh * s.kw * s.oc * (doubled ? 4 : 1);)

// A row is a weight's tap and channel in, a column its channel out, k an output pixel; a slice of the grid's z takes a
// share of the pixels and writes its own sums, [slice, kh, kw, cin, cout].
struct ConvBackwardWeight {
    typedef Inner Row;
    typedef u32 Col;
    struct Depth {
        Origin origin;
        u32 row;
    };
    Windowed s;
    Parts parts;
    const float* dy;
    float* out;
    __device__ Row row(u32 m) const { return inner_of(s, parts, m); }
    __device__ Col col(u32 n) const { return n; }
    __device__ Depth depth(u32 k) const { return {origin_of(s, k), k * s.oc}; }
    __device__ float a(const Row& in, const Depth& d) const { return input_at(s, d.origin, in); }
    __device__ float b(const Depth& d, Col n) const { return dy[d.row + n]; }
    __device__ void store(u32 m, u32 n, float sum) const { out[(u64)m * s.oc + n] = sum; }
};

// The pixels of a slice.
__device__ inline u32 at_most(u32 a, u32 b) { return a < b ? a : b; }

GEMM_KERNELS(conv_backward_weight, false, false,
             (Windowed s, Parts parts, const float* dy, float* partials, u32 slice),
             u32 pixels = (u32)s.n * s.oh * s.ow; u32 rows = (u32)s.kh * s.kw * s.c; u32 cols = s.oc;
             u32 k_begin = at_most(blockIdx.z * slice, pixels); u32 k_end = at_most(k_begin + slice, pixels);
             ConvBackwardWeight problem = {s, parts, dy, partials + (u64)blockIdx.z * rows * cols};)
