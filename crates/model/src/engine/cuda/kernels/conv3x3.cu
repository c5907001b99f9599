// Dense convolution with 3x3 windows and stride 1, for channel counts that are multiples of WIDE.
//
// A block computes a patch of pixels: it copies the pixels under their windows into shared memory once for each TILE_K
// channels, and the nine taps read them there at nine offsets; only the weights are copied tap by tap. The gradient of
// the input is the same convolution of the output's gradient with the window flipped.

#define PATCH_H 8
#define PATCH_W 16
#define TAPS 9

// The pixels under the windows of H rows of PATCH_W pixels, in shared memory: TILE_K channels of each pixel,
// contiguous. As the side of a tile, pixels are numbered row by row.
template <int H, int PAD> struct Patch {
    static constexpr bool ALONG_K = true;
    static constexpr int WIDTH = PATCH_W + 2;
    static constexpr int PIXELS = (H + 2) * WIDTH;
    static constexpr int PITCH = TILE_K + PAD;
    static constexpr int SIZE = PIXELS * PITCH;
    static __device__ constexpr int at(int side, int k) { return (side / PATCH_W * WIDTH + side % PATCH_W) * PITCH + k; }
    // Offset of a tap's patch.
    static __device__ constexpr int tap(int i) { return (i / 3 * WIDTH + i % 3) * PITCH; }
};

// The input (n images of h x w x c, from several parts) and the size of the output (oh x ow). Mirrors `Patches` on the
// host.
struct Patches {
    int n, h, w, c, oh, ow, pad_y, pad_x;
    int across, down;  // patches per image
};
static_assert(sizeof(Patches) == 40, "Patches is laid out as on the host");

// The first pixel of a patch.
__device__ inline Pixel patch_at(const Patches& s, u32 i, int rows) {
    Pixel p = pixel_at(i, s.down, s.across);
    return {p.n, p.y * rows, p.x * PATCH_W};
}

// TILE_K channels, or fewer, of one part.
struct Channels {
    int part, first;  // index of the first channel within its part
    int start, end;   // the part's range within all channels
    __device__ int of_all() const { return start + first; }
    __device__ int left() const { return end - start - first; }
};

__device__ inline Channels first_channels(const Parts& parts) { return {0, 0, 0, parts.end[0]}; }

__device__ inline void next_channels(Channels& c, const Parts& parts) {
    c.first += TILE_K;
    if (c.left() > 0) return;
    c.start = c.end;
    c.first = 0;
    if (++c.part < MAX_PARTS) c.end = parts.end[c.part];
}

// Copies some channels of the pixels under a patch's windows.
template <class P>
__device__ inline void copy_patch(Element* to, const Patches& s, const Parts& parts, const Pixel& first, const Channels& c) {
    constexpr int CHUNKS = TILE_K / WIDE, COPIES = (P::PIXELS * CHUNKS + THREADS - 1) / THREADS;
    const Element* const data = parts.data[c.part];
    const int shift = parts.doubled[c.part], channels = c.end - c.start;
    const int k = threadIdx.x % CHUNKS * WIDE;
#pragma unroll
    for (int i = 0; i < COPIES; i++) {
        const int pixel = (threadIdx.x + i * THREADS) / CHUNKS;
        if (pixel >= P::PIXELS) break;
        const int y = first.y - s.pad_y + pixel / P::WIDTH, x = first.x - s.pad_x + pixel % P::WIDTH;
        const bool inside = y >= 0 && y < s.h && x >= 0 && x < s.w && k < c.left();
        const u32 at = offset(first.n, y >> shift, x >> shift, s.h >> shift, s.w >> shift, channels) + c.first + k;
        copy_async(to + pixel * P::PITCH + k, inside ? data + at : data, inside);
    }
}

// Weights [9, c, oc] for the forward product: k are input channels, columns output channels.
template <int BN> struct WeightsOfValue {
    typedef Tile<BN, false> T;
    const Element* w;
    u32 c, oc;
    __device__ void copy(Element* to, u32 n0, int tap, const Channels& channels) const {
        constexpr int CHUNKS = BN / WIDE;
        const int k = threadIdx.x / CHUNKS, n = threadIdx.x % CHUNKS * WIDE;
        if (k >= TILE_K) return;
        const bool inside = k < channels.left() && n0 + n < oc;
        const u32 at = ((u32)tap * c + channels.of_all() + k) * oc + n0 + n;
        copy_async(to + T::at(n, k), inside ? w + at : w, inside);
    }
};

// For the gradient's product: k are output channels, columns the input channels from `first` on, taps in reverse order.
template <int BN> struct WeightsOfGradient {
    typedef Tile<BN, true> T;
    const Element* w;
    u32 c, oc, first, columns;
    __device__ void copy(Element* to, u32 n0, int tap, const Channels& channels) const {
        constexpr int CHUNKS = TILE_K / WIDE;
        const int n = threadIdx.x / CHUNKS, k = threadIdx.x % CHUNKS * WIDE;
        if (n >= BN) return;
        const bool inside = k < channels.left() && n0 + n < columns;
        const u32 at = ((u32)(TAPS - 1 - tap) * c + first + n0 + n) * oc + channels.of_all() + k;
        copy_async(to + T::at(n, k), inside ? w + at : w, inside);
    }
};

// Shared memory: two patches, and the weights of a few steps; after the product its sums. A step is one tap, or, if the
// product has few columns, the three taps of a row, so that there is enough work between two barriers.
template <int BN, class Weights> struct SharedPatches {
    typedef Patch<PATCH_H, WIDE> P;
    static constexpr int TAPS_PER_STEP = BN >= 64 ? 1 : 3, STEPS = TAPS / TAPS_PER_STEP, DEPTH = BN >= 64 ? 3 : 2;
    static constexpr int STAGE = TAPS_PER_STEP * Weights::T::SIZE;
    static constexpr int PITCH = BN + 8;
    static constexpr int BYTES_OF_TILES = (2 * P::SIZE + DEPTH * STAGE) * (int)sizeof(Element);
    static constexpr int BYTES_OF_SUMS = PATCH_H * PATCH_W * PITCH * (int)sizeof(float);
    static constexpr int BYTES = BYTES_OF_TILES > BYTES_OF_SUMS ? BYTES_OF_TILES : BYTES_OF_SUMS;
    static_assert(BYTES <= 48 << 10, "the static limit of a block's shared memory");
    // After the sums there must be room for one value per thread.
    static_assert(BYTES_OF_SUMS + THREADS * (int)sizeof(float) <= BYTES, "room for the moments");
};

// Computes the sums of a patch's pixels for the columns from blockIdx.y * BN on, in shared memory.
template <int BN, class Weights>
__device__ inline float* patch_product(const Patches& s, const Parts& parts, const Weights& weights, const Pixel& first,
                                       void* shared) {
    typedef SharedPatches<BN, Weights> S;
    typedef typename S::P P;
    constexpr int PIXELS = PATCH_H * PATCH_W;
    Element* const patches = (Element*)shared;
    Element* const tiles = patches + 2 * P::SIZE;
    const u32 n0 = blockIdx.y * BN;
    Product<PIXELS, BN, P, typename Weights::T> product;
    Channels now = first_channels(parts), next = now, ahead = now;
    next_channels(next, parts);
    int ahead_tap = 0, ahead_stage = 0;
    const auto copy_weights = [&] {
        if (ahead.of_all() < s.c)
            for (int i = 0; i < S::TAPS_PER_STEP; i++)
                weights.copy(tiles + ahead_stage * S::STAGE + i * Weights::T::SIZE, n0, ahead_tap + i, ahead);
        copies_commit();
        ahead_stage = ahead_stage + 1 == S::DEPTH ? 0 : ahead_stage + 1;
        ahead_tap += S::TAPS_PER_STEP;
        if (ahead_tap == TAPS) {
            ahead_tap = 0;
            next_channels(ahead, parts);
        }
    };
    copy_patch<P>(patches, s, parts, first, now);
    for (int i = 0; i < S::DEPTH - 1; i++) copy_weights();
    int stage = 0;
    for (int turn = 0; now.of_all() < s.c; turn ^= 1) {
        const int depth = now.left() < TILE_K ? now.left() : TILE_K;
        for (int step = 0; step < S::STEPS; step++) {
            // The most recent copies, of the next step's weights or the next patch, may still be in flight.
            if (S::DEPTH > 2 || step == 1)
                copies_wait<1>();
            else
                copies_wait<0>();
            __syncthreads();  // patch and weights have arrived, and no thread still reads the previous ones
            copy_weights();
            if (step == 0) {
                if (next.of_all() < s.c) copy_patch<P>(patches + (turn ^ 1) * P::SIZE, s, parts, first, next);
                if (S::DEPTH == 2) copies_commit();
            }
#pragma unroll
            for (int i = 0; i < S::TAPS_PER_STEP; i++)
                product.add(patches + turn * P::SIZE + P::tap(step * S::TAPS_PER_STEP + i),
                            tiles + stage * S::STAGE + i * Weights::T::SIZE, depth);
            stage = stage + 1 == S::DEPTH ? 0 : stage + 1;
        }
        now = next;
        next_channels(next, parts);
    }
    copies_wait<0>();
    __syncthreads();
    float* const sums = (float*)shared;
    product.write(sums, S::PITCH);
    __syncthreads();
    return sums;
}

// Passes the sums of a patch to `problem.store(pixel, column, count, values)`.
template <int BN, class Problem>
__device__ inline void store_patch(const Patches& s, const Pixel& first, const Problem& problem, u32 columns, float* sums) {
    const u32 n0 = blockIdx.y * BN;
    for (int i = threadIdx.x; i < PATCH_H * PATCH_W * (BN / WIDE); i += THREADS) {
        const int pixel = i / (BN / WIDE), col = i % (BN / WIDE) * WIDE;
        const int y = first.y + pixel / PATCH_W, x = first.x + pixel % PATCH_W;
        if (y >= s.oh || x >= s.ow || n0 + col >= columns) continue;
        problem.store(((u32)first.n * s.oh + y) * s.ow + x, n0 + col, WIDE, sums + pixel * (BN + 8) + col);
    }
    const int rows = (int)at_most(s.oh - first.y, PATCH_H), cols = (int)at_most(s.ow - first.x, PATCH_W);
    const auto inside = [&](int pixel) { return pixel / PATCH_W < rows && pixel % PATCH_W < cols; };
    float* const behind = sums + PATCH_H * PATCH_W * (BN + 8);
    problem.template moments<PATCH_H * PATCH_W, BN>(sums, inside, (u32)(rows * cols), n0, behind);
}

// The same for a part that is read doubled: each of its pixels receives the sum of 2x2.
template <int BN, class Problem>
__device__ inline void store_halved(const Patches& s, const Pixel& first, const Problem& problem, u32 columns, float* sums) {
    const u32 n0 = blockIdx.y * BN;
    constexpr int H = PATCH_H / 2, W = PATCH_W / 2, PITCH = BN + 8;
    for (int i = threadIdx.x; i < H * W * (BN / WIDE); i += THREADS) {
        const int pixel = i / (BN / WIDE), col = i % (BN / WIDE) * WIDE;
        const int y = first.y / 2 + pixel / W, x = first.x / 2 + pixel % W;
        if (2 * y >= s.oh || 2 * x >= s.ow || n0 + col >= columns) continue;
        float* corner = sums + (pixel / W * 2 * PATCH_W + pixel % W * 2) * PITCH + col;
        float values[WIDE];
        for (int j = 0; j < WIDE; j++)
            values[j] = corner[j] + corner[PITCH + j] + corner[PATCH_W * PITCH + j] + corner[(PATCH_W + 1) * PITCH + j];
        problem.store(((u32)first.n * (s.oh / 2) + y) * (s.ow / 2) + x, n0 + col, WIDE, values);
    }
}

#define FORWARD_3X3(BN)                                                                                                   \
    KERNEL(conv3x3_forward_##BN, (const __grid_constant__ Patches s, const __grid_constant__ Parts parts, const Element* w, \
                                  const float* scale, const float* shift, void* y, float* moments, float* counts, u32 oc, \
                                  int kind, int y_is_f32)) {                                                              \
        typedef WeightsOfValue<BN> Weights;                                                                               \
        SHARED(shared, (SharedPatches<BN, Weights>::BYTES))                                                               \
        const Pixel first = patch_at(s, blockIdx.x, PATCH_H);                                                             \
        const Weights weights = {w, (u32)s.c, oc};                                                                        \
        float* sums = patch_product<BN>(s, parts, weights, first, shared);                                                \
        store_patch<BN>(s, first, Activated{scale, shift, y, oc, kind, y_is_f32, true, {moments, counts}}, oc, sums);     \
    }
FORWARD_3X3(64)
FORWARD_3X3(32)
FORWARD_3X3(16)

// `dy` is a single part; `c` is the number of channels of the convolution's whole input, of which dx covers `columns`
// from `first` on.
#define BACKWARD_3X3(BN)                                                                                                  \
    KERNEL(conv3x3_backward_input_##BN,                                                                                   \
           (const __grid_constant__ Patches s, const __grid_constant__ Parts dy, const Element* w,                        \
            const __grid_constant__ Parts dx, u32 c, u32 first, u32 columns, int doubled)) {                              \
        typedef WeightsOfGradient<BN> Weights;                                                                            \
        SHARED(shared, (SharedPatches<BN, Weights>::BYTES))                                                               \
        const Pixel pixel = patch_at(s, blockIdx.x, PATCH_H);                                                             \
        const Weights weights = {w, c, (u32)s.c, first, columns};                                                         \
        float* sums = patch_product<BN>(s, dy, weights, pixel, shared);                                                   \
        if (doubled)                                                                                                      \
            store_halved<BN>(s, pixel, IntoParts(dx, true), columns, sums);                                               \
        else                                                                                                              \
            store_patch<BN>(s, pixel, IntoParts(dx, true), columns, sums);                                                \
    }
BACKWARD_3X3(64)
BACKWARD_3X3(32)
BACKWARD_3X3(16)

#if PRECISION != F32

// The weights' gradient: a block has TILE_K input channels, BN output channels and all taps, and sums over a slice of
// the patches, which have H rows. Its sums, [tap, input channel, output channel], are nine products with the patch at
// nine offsets.
template <int BN> struct GradientOfWeights {
    // As `rows_of_a_patch` on the host: as many rows as fit with two stages.
    static constexpr int H = sizeof(Element) == 4 && BN == 64 ? 2 : 4, PIXELS = H * PATCH_W;
    typedef Patch<H, 8> P;
    static constexpr int PITCH = BN + 8;  // of the output's gradient, [pixel][output channel]
    static constexpr int STAGE = P::SIZE + PIXELS * PITCH;
    // Warps are divided over input channels (16 each), output channels (8 NPW each) and, if any are left, rows of the
    // patch.
    static constexpr int M16 = TILE_K / 16, NPW = M16 * BN / 8 > 8 ? 2 : 1, OVER_N = BN / 8 / NPW;
    static constexpr int SPLIT = 8 / (M16 * OVER_N);
    static constexpr int SUMS = TAPS * TILE_K * BN;
    static constexpr int BYTES_OF_TILES = 2 * STAGE * (int)sizeof(Element);
    static constexpr int BYTES_OF_SUMS = SPLIT > 1 ? SPLIT * SUMS * (int)sizeof(float) : 0;
    static constexpr int BYTES = BYTES_OF_TILES > BYTES_OF_SUMS ? BYTES_OF_TILES : BYTES_OF_SUMS;
    static_assert(BYTES <= 48 << 10, "the static limit of a block's shared memory");
    static constexpr int STEP = 2 * WIDE;  // pixels per instruction

    float sums[TAPS][1][NPW][4] = {};

    __device__ static void copy_gradient(Element* to, const Patches& s, const Element* dy, u32 oc, u32 n0, const Pixel& first) {
        constexpr int CHUNKS = BN / WIDE, COPIES = (PIXELS * CHUNKS + THREADS - 1) / THREADS;
        const int n = threadIdx.x % CHUNKS * WIDE;
#pragma unroll
        for (int i = 0; i < COPIES; i++) {
            const int pixel = (threadIdx.x + i * THREADS) / CHUNKS;
            if (pixel >= PIXELS) break;
            const int y = first.y + pixel / PATCH_W, x = first.x + pixel % PATCH_W;
            const bool inside = y < s.oh && x < s.ow && n0 + n < oc;
            const u32 at = offset(first.n, y, x, s.oh, s.ow, oc) + n0 + n;
            copy_async(to + pixel * PITCH + n, inside ? dy + at : dy, inside);
        }
    }

    // Channels m0 .. m0 + 15 of STEP pixels of a row, at the offset of a tap.
    __device__ static void factor_a(const Element* patch, int m0, u32 (&a)[4]) {
#if PRECISION == BF16
        load_matrices_transposed(
            a, [&](int t) { return patch + (t % 8 + t / 16 * 8) * P::PITCH + m0 + t / 8 % 2 * 8; });
#else
        const int lane = threadIdx.x % 32;
        const float* at = patch + lane % 4 * P::PITCH + m0 + lane / 4;
        a[0] = round_tf32(bits_of(at[0]));
        a[1] = round_tf32(bits_of(at[8]));
        a[2] = round_tf32(bits_of(at[4 * P::PITCH]));
        a[3] = round_tf32(bits_of(at[4 * P::PITCH + 8]));
#endif
    }

    // 8 NPW output channels of the same pixels.
    __device__ static void factor_b(const Element* gradient, int n0, u32 (&b)[NPW][2]) {
#if PRECISION == BF16
        u32 pair[4];
        load_matrices_transposed(
            pair, [&](int t) { return gradient + t % 16 * PITCH + n0 + (NPW > 1 ? t / 16 * 8 : 0); });
        for (int i = 0; i < 2 * NPW; i++) b[i / 2][i % 2] = pair[i];
#else
        const int lane = threadIdx.x % 32;
        const float* at = gradient + lane % 4 * PITCH + n0 + lane / 4;
        for (int j = 0; j < NPW; j++) {
            b[j][0] = round_tf32(bits_of(at[8 * j]));
            b[j][1] = round_tf32(bits_of(at[4 * PITCH + 8 * j]));
        }
#endif
    }

    __device__ void add(const Element* patch, const Element* gradient) {
        const int warp = threadIdx.x / 32;
        const int m0 = warp % M16 * 16, n0 = warp / M16 % OVER_N * 8 * NPW;
        for (int row = warp / (M16 * OVER_N); row < H; row += SPLIT) {
#pragma unroll
            for (int x = 0; x < PATCH_W; x += STEP) {
                u32 b[NPW][2];
                factor_b(gradient + (row * PATCH_W + x) * PITCH, n0, b);
#pragma unroll
                for (int tap = 0; tap < TAPS; tap++) {
                    u32 a[1][4];
                    factor_a(patch + (row * P::WIDTH + x) * P::PITCH + P::tap(tap), m0, a[0]);
                    multiply<1, NPW>(sums[tap], a, b);
                }
            }
        }
    }

    // f(tap, input channel, output channel, two adjacent sums)
    template <class F> __device__ void each(const F& f) const {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        const int m = warp % M16 * 16 + lane / 4, n = warp / M16 % OVER_N * 8 * NPW + lane % 4 * 2;
#pragma unroll
        for (int tap = 0; tap < TAPS; tap++)
#pragma unroll
            for (int j = 0; j < NPW; j++) {
                f(tap, m, n + 8 * j, make_float2(sums[tap][0][j][0], sums[tap][0][j][1]));
                f(tap, m + 8, n + 8 * j, make_float2(sums[tap][0][j][2], sums[tap][0][j][3]));
            }
    }
};

template <int BN>
__device__ inline void gradient_of_weights(const Patches& s, const Parts& parts, const Element* dy, float* partials, u32 oc,
                                           u32 per_slice, void* shared) {
    typedef GradientOfWeights<BN> G;
    Element* const memory = (Element*)shared;
    const u32 n0 = blockIdx.y * BN;
    Channels channels = first_channels(parts);
    for (u32 i = 0; i < blockIdx.x; i++) next_channels(channels, parts);
    const u32 all = (u32)s.n * s.down * s.across;
    const u32 begin = at_most(blockIdx.z * per_slice, all), end = at_most(begin + per_slice, all);
    const auto copy = [&](u32 i, int turn) {
        const Pixel first = patch_at(s, i, G::H);
        copy_patch<typename G::P>(memory + turn * G::STAGE, s, parts, first, channels);
        G::copy_gradient(memory + turn * G::STAGE + G::P::SIZE, s, dy, oc, n0, first);
    };
    G sums;
    if (begin < end) copy(begin, 0);
    copies_commit();
    for (u32 i = begin, turn = 0; i < end; i++, turn ^= 1) {
        copies_wait<0>();
        __syncthreads();  // this patch has arrived, and no thread still reads the previous one
        if (i + 1 < end) copy(i + 1, turn ^ 1);
        copies_commit();
        sums.add(memory + turn * G::STAGE, memory + turn * G::STAGE + G::P::SIZE);
    }
    float* const out = partials + (u64)blockIdx.z * TAPS * s.c * oc;
    const auto store = [&](int tap, int m, int n, float2 pair) {
        if (m < channels.left() && n0 + n < oc)
            *(float2*)(out + ((u32)tap * s.c + channels.of_all() + m) * oc + n0 + n) = pair;
    };
    if (G::SPLIT == 1) {
        sums.each(store);
        return;
    }
    copies_wait<0>();
    __syncthreads();
    // The partial sums of the rows, stored one after another, are added in order.
    float* const shares = (float*)shared;
    const int share = threadIdx.x / 32 / (G::M16 * G::OVER_N);
    sums.each([&](int tap, int m, int n, float2 pair) {
        *(float2*)(shares + share * G::SUMS + (tap * TILE_K + m) * BN + n) = pair;
    });
    __syncthreads();
    for (int i = threadIdx.x * 2; i < G::SUMS; i += 2 * THREADS) {
        float2 sum = *(float2*)(shares + i);
        for (int k = 1; k < G::SPLIT; k++) {
            float2 more = *(float2*)(shares + k * G::SUMS + i);
            sum = make_float2(sum.x + more.x, sum.y + more.y);
        }
        const int row = i / BN;
        store(row / TILE_K, row % TILE_K, i % BN, sum);
    }
}

// The grid is TILE_K channels of a part by BN output channels by slices; partials are [slice, 9, c, oc].
#define BACKWARD_WEIGHT_3X3(BN)                                                                                           \
    KERNEL(conv3x3_backward_weight_##BN, (const __grid_constant__ Patches s, const __grid_constant__ Parts parts,         \
                                          const Element* dy, float* partials, u32 oc, u32 per_slice)) {                   \
        SHARED(shared, (GradientOfWeights<BN>::BYTES))                                                                    \
        gradient_of_weights<BN>(s, parts, dy, partials, oc, per_slice, shared);                                           \
    }
BACKWARD_WEIGHT_3X3(64)
BACKWARD_WEIGHT_3X3(32)
BACKWARD_WEIGHT_3X3(16)

#endif
