// Losses on class scores [n, classes]: value, hits and gradient in one launch of one block. All use log-softmax or log
// odds, never the logarithm of a probability, so they are finite for any finite scores.

namespace training {

__device__ inline float class_weight(const float* weights, u32 c) { return weights ? weights[c] : 1.0f; }

// A row's labels after smoothing: its own and, where images are mixed, its partner's.
struct Target {
    u32 label, partner;
    float share;   // the own label's; 1 if not mixed
    float spread;  // assigned to every class by label smoothing
    float rest;    // left to the labels
    __device__ float of(u32 c) const {
        float own = c == label ? share : 0.0f, other = c == partner ? 1.0f - share : 0.0f;
        return product(rest, own + other) + spread;
    }
    __device__ float weight(const float* weights) const {
        return product(share, class_weight(weights, label)) + product(1.0f - share, class_weight(weights, partner));
    }
    __device__ u32 dominant() const { return share < 0.5f ? partner : label; }
};

// 1 if the first maximum of the scores is the label's. A NaN counts as the maximum only in first place, as on the host.
__device__ inline double hit(const float* x, u32 classes, u32 label) {
    u32 best = 0;
    for (u32 c = 1; c < classes; c++)
        if (x[c] > x[best]) best = c;
    return best == label ? 1.0 : 0.0;
}

// A sigmoid and its complement, both accurate even where they are small, and ln(1 + exp(-|z|)).
struct Odds {
    float p, q, log;
};

__device__ inline Odds odds(float z) {
    float e = expf(-fabsf(z));
    float large = 1.0f / (1.0f + e), small = e / (1.0f + e);
    return {z > 0.0f ? large : small, z > 0.0f ? small : large, log1pf(e)};
}

// -(t * log p + (1 - t) * log(1 - p))
__device__ inline float binary_entropy(float z, const Odds& odds, float t) {
    return (z > 0.0f ? z : 0.0f) - z * t + odds.log;
}

// Its derivative with respect to z, p - t, without the cancellation of 1 - 1.
__device__ inline float binary_entropy_slope(const Odds& odds, float t) { return (1.0f - t) * odds.p - t * odds.q; }

// Minus the sum over classes of w_c * t_c * log p_c, divided by the batch's sum of w_y. `row` returns a row's loss; dx
// is its gradient.
struct CrossEntropy {
    // Smoothing is spread evenly over all classes.
    __device__ static float even(u32 classes) { return 1.0f / (float)classes; }
    __device__ static float row(const float* x, float* dx, u32 classes, const float* weights, Target target, float total) {
        float most = x[0];
        for (u32 c = 1; c < classes; c++)
            if (x[c] > most) most = x[c];
        float sum = 0.0f;
        for (u32 c = 0; c < classes; c++) sum += expf(x[c] - most);
        float log_sum = logf(sum), loss = 0.0f, mass = 0.0f;
        for (u32 c = 0; c < classes; c++) {
            float t = class_weight(weights, c) * target.of(c) / total;
            loss -= t * (x[c] - most - log_sum);
            mass += t;
        }
        for (u32 c = 0; c < classes; c++)
            dx[c] = expf(x[c] - most) / sum * mass - class_weight(weights, c) * target.of(c) / total;
        return loss;
    }
};

// The mean over classes of each class's binary cross-entropy on its log odds x_k - log(sum over j != k of exp x_j),
// times w_y, divided by the batch's sum of w_y. For every class except the highest, the sum over the others contains
// exp 0, so it can be computed as a difference from the sum over all; the highest's is summed separately, relative to
// the second highest.
struct SoftmaxBce {
    // Each class is a separate binary decision: smoothing moves its label towards 1/2.
    __device__ static float even(u32) { return 0.5f; }
    const float* x;
    u32 classes;
    Target target;
    float factor;  // w_y / (total * classes)
    u32 top;
    float most, second;  // the highest score and the second highest
    float sum, rest;     // sum of exp(x - most) over all, of exp(x - second) over all but the highest

    __device__ void look() {
        top = 0;
        for (u32 c = 1; c < classes; c++)
            if (x[c] > x[top]) top = c;
        most = x[top];
        second = x[top == 0];
        for (u32 c = 0; c < classes; c++)
            if (c != top && x[c] > second) second = x[c];
        sum = rest = 0.0f;
        for (u32 c = 0; c < classes; c++) {
            sum += expf(x[c] - most);
            if (c != top) rest += expf(x[c] - second);
        }
    }

    // Sum of exp(x_j - most) over all classes except c, which is not the highest.
    __device__ float others(u32 c) const { return sum - expf(x[c] - most); }

    __device__ float log_odds(u32 c) const {
        return c == top ? x[c] - second - logf(rest) : x[c] - most - logf(others(c));
    }

    // Derivative of a class's entropy with respect to its log odds.
    __device__ float slope(u32 c) const { return factor * binary_entropy_slope(odds(log_odds(c)), target.of(c)); }

    __device__ float loss() const {
        float loss = 0.0f;
        for (u32 c = 0; c < classes; c++) {
            float z = log_odds(c);
            loss += factor * binary_entropy(z, odds(z), target.of(c));
        }
        return loss;
    }

    // The derivative of k's log odds is 1 with respect to x_k, and minus j's share among the classes other than k with
    // respect to every other x_j.
    __device__ void gradient(float* dx) const {
        float from_top = slope(top), from_others = 0.0f;
        for (u32 c = 0; c < classes; c++)
            if (c != top) from_others += slope(c) / others(c);
        for (u32 c = 0; c < classes; c++) {
            float e = expf(x[c] - most);
            if (c == top)
                dx[c] = from_top - e * from_others;
            else
                dx[c] = slope(c) - from_top * expf(x[c] - second) / rest - e * (from_others - slope(c) / others(c));
        }
    }

    // The score of a single class is its log odds.
    __device__ static float single(float z, float* dx, float t, float factor) {
        Odds o = odds(z);
        dx[0] = factor * binary_entropy_slope(o, t);
        return factor * binary_entropy(z, o, t);
    }

    __device__ static float row(const float* x, float* dx, u32 classes, const float* weights, Target target, float total) {
        float factor = target.weight(weights) / (total * (float)classes);
        if (classes == 1) return single(x[0], dx, target.of(0), factor);
        SoftmaxBce row = {x, classes, target, factor, 0, 0.0f, 0.0f, 0.0f, 0.0f};
        row.look();
        row.gradient(dx);
        return row.loss();
    }
};

// Each thread processes every 256th row.
template <class Loss>
__device__ inline void class_loss(const float* logits, const u32* labels, const u32* partners, const float* weights,
                                  float* gradient, u32 n, u32 classes, const Controls* controls, Results* results,
                                  double* shared) {
    double total = 0.0, loss = 0.0, hits = 0.0;
    for (u32 i = threadIdx.x; i < n; i += THREADS) total += class_weight(weights, labels[i]);
    total = block_sum(total, shared);
    if (controls->mixed) {
        total = (double)n;
    } else {
        partners = labels;
    }
    float smoothing = controls->smoothing, spread = smoothing * Loss::even(classes);
    for (u32 i = threadIdx.x; i < n; i += THREADS) {
        const float* x = logits + i * classes;
        Target target = {labels[i], partners[i], controls->share, spread, 1.0f - smoothing};
        hits += hit(x, classes, target.dominant());
        loss += Loss::row(x, gradient + i * classes, classes, weights, target, (float)total);
    }
    loss = block_sum(loss, shared);
    hits = block_sum(hits, shared);
    if (threadIdx.x == 0) {
        results->class_loss = (float)loss;
        results->hits = (u32)hits;
    }
}

}  // namespace training

// `partners` is read where images are mixed; `weights` has one factor per class, or is null; `gradient` has the scores'
// shape. One block.
KERNEL(class_cross_entropy, (const float* logits, const u32* labels, const u32* partners, const float* weights,
                             float* gradient, u32 n, u32 classes, const training::Controls* controls,
                             training::Results* results)) {
    __shared__ double shared[THREADS];
    training::class_loss<training::CrossEntropy>(logits, labels, partners, weights, gradient, n, classes, controls, results,
                                                 shared);
}

KERNEL(class_softmax_bce, (const float* logits, const u32* labels, const u32* partners, const float* weights,
                           float* gradient, u32 n, u32 classes, const training::Controls* controls,
                           training::Results* results)) {
    __shared__ double shared[THREADS];
    training::class_loss<training::SoftmaxBce>(logits, labels, partners, weights, gradient, n, classes, controls, results,
                                               shared);
}
