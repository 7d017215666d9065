#!/bin/sh
# A training of any language: awk fits a line between two clouds of points by stochastic gradient descent.
# Called as train.sh RATE DECAY SEED TEST OUT; see train.toml beside it.
if [ "$4" = 1 ]; then part=test points=2000; else part=validation points=1000; fi
awk -v rate="$1" -v decay="$2" -v seed="$3" -v part="$part" -v points="$points" '
function normal() { return sqrt(-2 * log(1 - rand())) * cos(6.283185 * rand()) }
function draw() { y = rand() < 0.5 ? -1 : 1; a = 0.7 * y + normal(); b = 0.3 * y + normal() }
BEGIN {
    srand(seed)
    for (step = 0; step < 200; step++) {
        draw()
        slope = -y / (1 + exp(y * (w * a + v * b + c)))
        r = rate / (1 + decay * step)
        w -= r * slope * a; v -= r * slope * b; c -= r * slope
    }
    srand(part == "test" ? 1 : 2)  # the same points for every seed
    for (i = 0; i < points; i++) { draw(); right += (w * a + v * b + c) * y > 0 }
    printf "{\"%s\": %.6f}\n", part, right / points
}' > "$5"
