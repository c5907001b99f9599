// Dense convolution; weights [kh, kw, cin, cout]. Windows of one pixel and stride 1 over one input are plain matrices.

// The parts whose concatenation along channels is a convolution's input. Mirrors `Parts` on the host.
#define MAX_PARTS 8
struct Parts {
    Element* data[MAX_PARTS];
    int end[MAX_PARTS];      // total channels of this part and those before it
    int doubled[MAX_PARTS];  // whether each pixel is read as 2x2; the part has half the height and width
    int add[MAX_PARTS];      // for gradients: whether they are added to the existing values
};
static_assert(sizeof(Parts) == 160, "Parts is laid out as on the host");

// An output pixel and the origin of its window.
struct Origin {
    Pixel o;
    int y, x;
};

__device__ inline Origin origin_at(const Windowed& s, const Pixel& o) {
    return {o, o.y * s.stride - s.pad_y, o.x * s.stride - s.pad_x};
}

// An input value within a window: tap, part and channel.
struct Inner {
    int ky, kx, channel;
    int part, start, end, shift;
    const Element* data;
};

__device__ inline void enter(Inner& in, const Parts& parts, int part) {
    in.part = part;
    in.start = part == 0 ? 0 : parts.end[part - 1];
    in.end = parts.end[part];
    in.shift = parts.doubled[part];
    in.data = parts.data[part];
}

// Advances by `step` channels, from tap to tap.
__device__ inline void move_inner(Inner& in, const Windowed& s, const Parts& parts, int step) {
    in.channel += step;
    if (in.channel >= s.c) {
        do {
            in.channel -= s.c;
            if (++in.kx == s.kw) {
                in.kx = 0;
                in.ky++;
            }
        } while (in.channel >= s.c);
        enter(in, parts, 0);
    }
    while (in.channel >= in.end) enter(in, parts, in.part + 1);
}

__device__ inline Inner inner_at(const Windowed& s, const Parts& parts, u32 k) {
    u32 tap = k / (u32)s.c;
    Inner in;
    in.ky = tap / s.kw;
    in.kx = tap % s.kw;
    in.channel = k % (u32)s.c;
    enter(in, parts, 0);
    while (in.channel >= in.end) enter(in, parts, in.part + 1);
    return in;
}

__device__ inline const Element* input_at(const Windowed& s, const Origin& o, const Inner& in) {
    int y = o.y + in.ky, x = o.x + in.kx;
    if (y < 0 || y >= s.h || x < 0 || x >= s.w) return nullptr;
    u32 pixel = offset(o.o.n, y >> in.shift, x >> in.shift, s.h >> in.shift, s.w >> in.shift, in.end - in.start);
    return in.data + pixel + (in.channel - in.start);
}

// The windows of an input: a side is an output pixel, k a tap and input channel.
struct Windows {
    typedef Origin Side;
    typedef Inner Depth;
    const Windowed& s;
    const Parts& parts;
    const Element* data;
    bool wide;
    __device__ Side side(u32 m) const { return origin_at(s, pixel_at(m, s.oh, s.ow)); }
    __device__ Depth depth(u32 k) const { return inner_at(s, parts, k); }
    __device__ void move(Depth& d, int step) const { move_inner(d, s, parts, step); }
    __device__ const Element* at(const Side& o, const Depth& in) const { return input_at(s, o, in); }
};

// The same with side and k exchanged.
struct WindowsByPixel {
    typedef Inner Side;
    typedef Origin Depth;
    const Windowed& s;
    const Parts& parts;
    const Element* data;
    bool wide;
    __device__ Side side(u32 m) const { return inner_at(s, parts, m); }
    __device__ Depth depth(u32 k) const { return origin_at(s, pixel_at(k, s.oh, s.ow)); }
    __device__ void move(Depth& d, int step) const {
        advance(d.o, step, s.oh, s.ow);
        d = origin_at(s, d.o);
    }
    __device__ const Element* at(const Side& in, const Depth& o) const { return input_at(s, o, in); }
};

// The elements of the output's gradient that contribute to an input pixel: a side is a pixel of the input (at half the
// height and width where it is doubled), k an output channel at a tap, for each of the 2x2 pixels where doubled.
struct Seen {
    int up, left, ky, kx, o;
};
struct GradientWindows {
    typedef Pixel Side;
    typedef Seen Depth;
    const Windowed& s;
    const Element* data;
    bool wide;
    int doubled;
    __device__ Side side(u32 m) const { return pixel_at(m, s.h >> doubled, s.w >> doubled); }
    __device__ Depth depth(u32 k) const {
        u32 window = k / (u32)s.oc, taps = s.kh * s.kw;
        u32 corner = window / taps, tap = window % taps;
        return {(int)(corner / 2), (int)(corner % 2), (int)(tap / s.kw), (int)(tap % s.kw), (int)(k % (u32)s.oc)};
    }
    __device__ void move(Depth& d, int step) const {
        d.o += step;
        while (d.o >= s.oc) {
            d.o -= s.oc;
            if (++d.kx < s.kw) continue;
            d.kx = 0;
            if (++d.ky < s.kh) continue;
            d.ky = 0;
            if (++d.left < 2) continue;
            d.left = 0;
            d.up++;
        }
    }
    __device__ const Element* at(const Side& p, const Depth& d) const {
        int ty = (p.y << doubled) + d.up + s.pad_y - d.ky, tx = (p.x << doubled) + d.left + s.pad_x - d.kx;
        if (ty < 0 || tx < 0) return nullptr;
        int oy = ty, ox = tx;
        if (s.stride != 1) {
            if (ty % s.stride || tx % s.stride) return nullptr;
            oy = ty / s.stride;
            ox = tx / s.stride;
        }
        return oy < s.oh && ox < s.ow ? data + offset(p.n, oy, ox, s.oh, s.ow, s.oc) + d.o : nullptr;
    }
};

// The corresponding weights: a side is an input channel, from `first` on.
struct WeightsOfInput {
    typedef u32 Side;
    typedef Seen Depth;
    const Windowed& s;
    const Element* data;
    bool wide;
    int first;
    __device__ Side side(u32 n) const { return (first + n) * s.oc; }
    __device__ Depth depth(u32 k) const {
        u32 tap = k / (u32)s.oc % (u32)(s.kh * s.kw);
        return {0, 0, (int)(tap / s.kw), (int)(tap % s.kw), (int)(k % (u32)s.oc)};
    }
    __device__ void move(Depth& d, int step) const {
        d.o += step;
        while (d.o >= s.oc) {
            d.o -= s.oc;
            if (++d.kx < s.kw) continue;
            d.kx = 0;
            if (++d.ky == s.kh) d.ky = 0;
        }
    }
    __device__ const Element* at(Side c, const Depth& d) const {
        return data + (u32)(d.ky * s.kw + d.kx) * s.c * s.oc + c + d.o;
    }
};

// y = act(sum * scale + shift); scale and shift may be null. `y_is_f32` is set for values that are f32 in every
// precision. The values remain in shared memory, rounded as stored, for their moments.
struct Activated {
    const float *scale, *shift;
    void* y;
    u32 channels;
    int kind, y_is_f32;
    bool wide;
    Moments to;
    template <int BM, int BN, class Valid>
    __device__ void moments(const float* sums, const Valid& valid, u32 count, u32 n0, float* shared) const {
        to.template put<BM, BN>(sums, valid, count, n0, channels, shared);
    }
    __device__ void store(u32 m, u32 n, int count, float* values) const {
        for (int i = 0; i < count; i++) {
            float v = values[i];
            if (scale) v *= scale[n + i];
            if (shift) v += shift[n + i];
            v = activate(kind, v);
            values[i] = y_is_f32 ? v : stored(v);
        }
        if (y_is_f32)
            put_row((float*)y + m * channels + n, count, values, wide, 0);
        else
            put_row((Element*)y + m * channels + n, count, values, wide, 0);
    }
};

// dx (+)= sum. Columns are the channels of the parts, starting at channel 0 of the first.
struct IntoParts : NoMoments {
    const Parts& parts;
    bool wide;
    __device__ IntoParts(const Parts& parts, bool wide) : parts(parts), wide(wide) {}
    __device__ void store(u32 m, u32 n, int count, const float* values) const {
        if (!wide) {
            for (int i = 0; i < count; i++) put_at(m, n + i, 1, values + i);
        } else {
            put_at(m, n, count, values);
        }
    }
    __device__ void put_at(u32 m, u32 n, int count, const float* values) const {
        int part = 0;
        while ((int)n >= parts.end[part]) part++;
        u32 start = part == 0 ? 0 : parts.end[part - 1], channels = parts.end[part] - start;
        put_row(parts.data[part] + m * channels + (n - start), count, values, wide, parts.add[part]);
    }
};

// One slice's sums of a weight's gradient, [slice, rows, cols].
struct Partial : NoMoments {
    float* out;
    u32 cols;
    bool wide;
    __device__ Partial(float* out, u32 cols, bool wide) : out(out), cols(cols), wide(wide) {}
    __device__ void store(u32 m, u32 n, int count, const float* values) const {
        put_row(out + (u64)m * cols + n, count, values, wide, 0);
    }
};

// The range of k of this block's slice.
#define SLICE(DEPTH)                                       \
    u32 k_begin = at_most(blockIdx.z * slice, (DEPTH));    \
    u32 k_end = at_most(k_begin + slice, (DEPTH));

GEMM_KERNELS(conv_forward, true, false,
             (const __grid_constant__ Windowed s, const __grid_constant__ Parts parts, const Element* w,
              const float* scale, const float* shift, void* y, float* moments, float* counts, int kind, int y_is_f32,
              int wide_x, int wide_w, int wide_y),
             Windows a = {s, parts, parts.data[0], wide_x != 0}; Matrix b = {w, 1, (u32)s.oc, wide_w != 0};
             Activated problem = {scale, shift, y, (u32)s.oc, kind, y_is_f32, wide_y != 0, {moments, counts}};
             u32 rows = (u32)s.n * s.oh * s.ow; u32 cols = s.oc; u32 k_begin = 0; u32 k_end = (u32)s.kh * s.kw * s.c;)

GEMM_KERNELS(point_forward, true, false,
             (const Element* x, const Element* w, const float* scale, const float* shift, void* y, float* moments,
              float* counts, u32 rows, u32 depth, u32 cols, int kind, int y_is_f32, int wide_x, int wide_w, int wide_y),
             Matrix a = {x, depth, 1, wide_x != 0}; Matrix b = {w, 1, cols, wide_w != 0};
             Activated problem = {scale, shift, y, cols, kind, y_is_f32, wide_y != 0, {moments, counts}}; u32 k_begin = 0; u32 k_end = depth;)

// The gradient of the parts that are not doubled (or of one that is), whose channels start at `first`.
GEMM_KERNELS(conv_backward_input, true, true,
             (const __grid_constant__ Windowed s, const Element* dy, const Element* w, const __grid_constant__ Parts dx,
              int first, int channels, int doubled, int wide_dy, int wide_dx),
             GradientWindows a = {s, dy, wide_dy != 0, doubled}; WeightsOfInput b = {s, w, wide_dy != 0, first};
             IntoParts problem(dx, wide_dx != 0); u32 rows = (u32)s.n * (s.h >> doubled) * (s.w >> doubled);
             u32 cols = channels; u32 k_begin = 0; u32 k_end = (u32)s.kh * s.kw * s.oc * (doubled ? 4 : 1);)

GEMM_KERNELS(point_backward_input, true, true,
             (const Element* dy, const Element* w, const __grid_constant__ Parts dx, u32 rows, u32 depth, u32 cols,
              int wide_dy, int wide_dx),
             Matrix a = {dy, depth, 1, wide_dy != 0}; Matrix b = {w, depth, 1, wide_dy != 0};
             IntoParts problem(dx, wide_dx != 0); u32 k_begin = 0; u32 k_end = depth;)

// A row is a tap and input channel of a weight, a column its output channel, k an output pixel; each z of the grid has
// a slice of the pixels.
GEMM_KERNELS(conv_backward_weight, false, false,
             (const __grid_constant__ Windowed s, const __grid_constant__ Parts parts, const Element* dy, float* partials,
              u32 slice, int wide_x, int wide_dy),
             WindowsByPixel a = {s, parts, parts.data[0], wide_x != 0}; Matrix b = {dy, 1, (u32)s.oc, wide_dy != 0};
             u32 rows = (u32)s.kh * s.kw * s.c; u32 cols = s.oc; SLICE((u32)s.n * s.oh * s.ow)
             Partial problem(partials + (u64)blockIdx.z * rows * cols, cols, wide_dy != 0);)

GEMM_KERNELS(point_backward_weight, false, false,
             (const Element* x, const Element* dy, float* partials, u32 rows, u32 depth, u32 cols, u32 slice, int wide_x,
              int wide_dy),
             Matrix a = {x, 1, rows, wide_x != 0}; Matrix b = {dy, 1, cols, wide_dy != 0}; SLICE(depth)
             Partial problem(partials + (u64)blockIdx.z * rows * cols, cols, wide_dy != 0);)
