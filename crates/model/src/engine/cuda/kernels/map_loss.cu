// Losses on a class map [pixels, classes], against a value and a weight for each pixel (both 0 where the truth is
// unknown). Each is an entropy (a mean over known pixels) plus an overlap (of sums over all pixels), either of which
// may be disabled, in three launches: partial sums over chunks of pixels, their final sum in one block, and the
// gradient, which recomputes intermediate values of a pixel rather than reading them.
//
// SMOOTH is added to the numerator and the denominator of overlaps.

namespace training {

const float SMOOTH = 1.0f;

// The part of `chunk` to sum: empty if no pixel of the map is known, in which case its scores are ignored.
__device__ inline Chunk known_part(Chunk chunk, const MapControls& map) {
    return {map.share > 0.0f ? chunk.begin : chunk.end, chunk.end};
}

// ---- One class: its log odds against all others.

// A pixel's log odds z of the class, and the maximum and sum for the softmax over the other classes.
struct OneClass {
    float z, most, sum;
    // Minus dz/dx of another class, from its score x.
    __device__ float fall(float x) const { return expf(x - most) / sum; }
};

__device__ inline OneClass one_class(const float* x, u32 classes, u32 own) {
    if (classes == 1) return {x[0], 0.0f, 1.0f};
    float most = x[own == 0], sum = 0.0f;
    for (u32 c = 0; c < classes; c++)
        if (c != own && x[c] > most) most = x[c];
    for (u32 c = 0; c < classes; c++)
        if (c != own) sum += expf(x[c] - most);
    return {x[own] - most - logf(sum), most, sum};
}

// balance_t * (1 - p_t)^gamma * -log p_t, and its derivative with respect to z; 1 - p_t = 1 - exp(-(-log p_t)).
__device__ inline float focal(const Controls& controls, float z, const Odds& odds, float t) {
    float nll = binary_entropy(z, odds, t);
    float balance = controls.marked * t + controls.unmarked * (1.0f - t);
    if (controls.gamma == 0.0f) return balance * nll;
    return balance * nll * powf(-expm1f(-nll), controls.gamma);
}

__device__ inline float focal_slope(const Controls& controls, float z, const Odds& odds, float t) {
    float balance = controls.marked * t + controls.unmarked * (1.0f - t);
    float slope = balance * binary_entropy_slope(odds, t), gamma = controls.gamma;
    if (gamma == 0.0f) return slope;  // the power's derivative at p = 1 would be 0 * inf
    float nll = binary_entropy(z, odds, t), miss = -expm1f(-nll);
    return slope * (powf(miss, gamma) + gamma * powf(miss, gamma - 1.0f) * expf(-nll) * nll);
}

// Partial sums of a loss on one class: w * entropy, TP = w * p * t, w * p, w * t.
const int ONE_TERMS = 4;

// Derivatives of the whole loss (with all factors) with respect to: w * entropy, TP, sum of w * p.
struct OneSlopes {
    float entropy, hits, size;
};
const u32 ONE_SLOPES = 3;

// 1 - (TP + s) / (TP + a FP + b FN + s), with FP = sum of p - TP and FN = sum of t - TP; 0 if no pixel is marked.
__device__ inline float tversky(const Controls& controls, double hits, double size, double marked, OneSlopes* slopes) {
    if (!(marked > 0.0)) {
        slopes->hits = slopes->size = 0.0f;
        return 0.0f;
    }
    double a = controls.false_positives, b = controls.false_negatives;
    double above = hits + SMOOTH, below = a * size + b * marked + (1.0 - a - b) * hits + SMOOTH;
    slopes->hits = (float)((above * (1.0 - a - b) / below - 1.0) / below);
    slopes->size = (float)(above * a / (below * below));
    return (float)(1.0 - above / below);
}

// ---- All classes: the softmax.

struct Softmax {
    float most, sum;
    __device__ float p(float x) const { return expf(x - most) / sum; }
    __device__ float nll(float x) const { return logf(sum) - (x - most); }
};

__device__ inline Softmax softmax(const float* x, u32 classes) {
    float most = x[0], sum = 0.0f;
    for (u32 c = 1; c < classes; c++)
        if (x[c] > most) most = x[c];
    for (u32 c = 0; c < classes; c++) sum += expf(x[c] - most);
    return {most, sum};
}

// Classes summed by one thread; further classes take further rows of blocks.
const u32 TILE = 4;

// Partial sums of a loss over all classes, per tile of classes: w * -log p_t (first tile only), and for each class of
// the tile TP = w * p * t, w * p, w * t.
const int ALL_TERMS = 1 + 3 * TILE;

// Stored for the gradient: the slope of the entropy, then for each class that of TP and that of the sum of w * p.
struct AllSlopes {
    float* to;
    __device__ float& entropy() const { return to[0]; }
    __device__ float& hits(u32 c) const { return to[1 + 2 * c]; }
    __device__ float& size(u32 c) const { return to[2 + 2 * c]; }
};

// A class's term of the mean over classes of 1 - (TP + s) / (half of (sum of p + sum of t) + s); 0 if it has no pixel.
__device__ inline double class_dice(u32 c, u32 classes, double hits, double size, double marked, double factor,
                                    const AllSlopes& slopes) {
    if (!(marked > 0.0)) {
        slopes.hits(c) = slopes.size(c) = 0.0f;
        return 0.0;
    }
    double share = 1.0 / classes, above = hits + SMOOTH, below = 0.5 * (size + marked) + SMOOTH;
    slopes.hits(c) = (float)(-factor * share / below);
    slopes.size(c) = (float)(factor * share * 0.5 * above / (below * below));
    return share * (1.0 - above / below);
}

}  // namespace training

// partials[chunk][term] of a loss on the class `own`; one block per chunk.
KERNEL(map_one_sums, (const float* map, const float* values, const float* weights, float* partials, u32 pixels,
                      u32 per_chunk, u32 classes, u32 own, const training::Controls* controls, u32 number)) {
    using namespace training;
    __shared__ float shared[ONE_TERMS * THREADS];
    float sums[ONE_TERMS] = {};
    Chunk chunk = known_part(chunk_of(blockIdx.x, per_chunk, pixels), map_controls(controls, number));
    bool entropy = controls->entropy > 0.0f, overlap = controls->overlap > 0.0f;
    for (u32 i = chunk.begin + threadIdx.x; i < chunk.end; i += THREADS) {
        float z = one_class(map + i * classes, classes, own).z, t = values[i], w = weights[i];
        Odds o = odds(z);
        if (entropy) sums[0] += w * focal(*controls, z, o, t);
        if (!overlap) continue;
        sums[1] += w * t * o.p;
        sums[2] += w * o.p;
        sums[3] += w * t;
    }
    chunk_sums<ONE_TERMS>(sums, partials + blockIdx.x * ONE_TERMS, shared);
}

// Writes the map's loss to the results, and its slopes. One block.
KERNEL(map_one_finish, (const float* partials, float* slopes, u32 chunks, const training::Controls* controls, u32 number,
                        training::Results* results)) {
    using namespace training;
    __shared__ double shared[THREADS], sums[LANES];
    finish_sums<ONE_TERMS>(partials, chunks, sums, shared);
    if (threadIdx.x != 0) return;
    MapControls map = map_controls(controls, number);
    float factor = map.share * controls->map_weight;
    OneSlopes by = {controls->entropy * map.mean, 0.0f, 0.0f};
    float loss = (float)(sums[0] * by.entropy);
    if (controls->overlap > 0.0f) loss += tversky(*controls, sums[1], sums[2], sums[3], &by);
    map_losses(results)[number] = loss;
    slopes[0] = by.entropy * factor;
    slopes[1] = by.hits * factor;
    slopes[2] = by.size * factor;
}

// dx of every class of every pixel. One thread per pixel.
KERNEL(map_one_gradient, (const float* map, const float* values, const float* weights, const float* slopes,
                          float* gradient, u32 pixels, u32 classes, u32 own, const training::Controls* controls,
                          u32 number)) {
    using namespace training;
    u32 i = element();
    if (i >= pixels) return;
    const float* x = map + i * classes;
    float* dx = gradient + i * classes;
    if (!(map_controls(controls, number).share > 0.0f)) {
        for (u32 c = 0; c < classes; c++) dx[c] = 0.0f;
        return;
    }
    OneClass one = one_class(x, classes, own);
    Odds o = odds(one.z);
    float t = values[i], w = weights[i];
    float dz = w * (slopes[1] * t + slopes[2]) * o.p * o.q;
    if (controls->entropy > 0.0f) dz += w * slopes[0] * focal_slope(*controls, one.z, o, t);
    for (u32 c = 0; c < classes; c++) dx[c] = c == own ? dz : -dz * one.fall(x[c]);
}

// partials[tile][chunk][term] of a loss over all classes; blocks are chunks by tiles of classes.
KERNEL(map_all_sums, (const float* map, const float* values, const float* weights, float* partials, u32 pixels,
                      u32 per_chunk, u32 classes, const training::Controls* controls, u32 number)) {
    using namespace training;
    __shared__ float shared[ALL_TERMS * THREADS];
    float sums[ALL_TERMS] = {};
    Chunk chunk = known_part(chunk_of(blockIdx.x, per_chunk, pixels), map_controls(controls, number));
    bool entropy = controls->entropy > 0.0f && blockIdx.y == 0, overlap = controls->overlap > 0.0f;
    u32 first = blockIdx.y * TILE;
    for (u32 i = chunk.begin + threadIdx.x; i < chunk.end; i += THREADS) {
        const float* x = map + i * classes;
        Softmax soft = softmax(x, classes);
        u32 label = (u32)values[i];
        float w = weights[i];
        if (entropy) sums[0] += w * soft.nll(x[label]);
        if (!overlap) continue;
        for (u32 k = 0; k < TILE; k++) {
            if (first + k >= classes) continue;
            float size = w * soft.p(x[first + k]);
            bool hit = first + k == label;
            sums[1 + k] += hit ? size : 0.0f;
            sums[1 + TILE + k] += size;
            sums[1 + 2 * TILE + k] += hit ? w : 0.0f;
        }
    }
    chunk_sums<ALL_TERMS>(sums, partials + (blockIdx.y * gridDim.x + blockIdx.x) * ALL_TERMS, shared);
}

KERNEL(map_all_finish, (const float* partials, float* slopes, u32 chunks, u32 classes, const training::Controls* controls,
                        u32 number, training::Results* results)) {
    using namespace training;
    __shared__ double shared[THREADS], sums[LANES];
    AllSlopes to = {slopes};
    MapControls map = map_controls(controls, number);
    float factor = map.share * controls->map_weight;
    double loss = 0.0;  // in the first thread only
    for (u32 first = 0; first < classes; first += TILE) {
        finish_sums<ALL_TERMS>(partials + first / TILE * chunks * ALL_TERMS, chunks, sums, shared);
        if (threadIdx.x == 0) {
            if (first == 0) loss = sums[0] * (controls->entropy * map.mean);
            for (u32 k = 0; k < TILE && first + k < classes; k++)
                loss += class_dice(first + k, classes, sums[1 + k], sums[1 + TILE + k], sums[1 + 2 * TILE + k], factor, to);
        }
        // The next tile's sums are written after a barrier, which the first thread reaches only after this block.
    }
    if (threadIdx.x != 0) return;
    map_losses(results)[number] = (float)loss;
    to.entropy() = controls->entropy * map.mean * factor;
}

KERNEL(map_all_gradient, (const float* map, const float* values, const float* weights, float* slopes, float* gradient,
                          u32 pixels, u32 classes, const training::Controls* controls, u32 number)) {
    using namespace training;
    u32 i = element();
    if (i >= pixels) return;
    const float* x = map + i * classes;
    float* dx = gradient + i * classes;
    if (!(map_controls(controls, number).share > 0.0f)) {
        for (u32 c = 0; c < classes; c++) dx[c] = 0.0f;
        return;
    }
    AllSlopes by = {slopes};
    Softmax soft = softmax(x, classes);
    u32 label = (u32)values[i];
    float w = weights[i], mean = 0.0f;
    for (u32 c = 0; c < classes; c++) mean += soft.p(x[c]) * (by.size(c) + (c == label ? by.hits(c) : 0.0f));
    for (u32 c = 0; c < classes; c++) {
        float p = soft.p(x[c]), dp = by.size(c) + (c == label ? by.hits(c) : 0.0f);
        dx[c] = w * (p * (dp - mean) + by.entropy() * (c == label ? p - 1.0f : p));
    }
}
