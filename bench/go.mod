// The peers of the benchmark and the program that adds the round-trip time: standard library only, so that
// they build without a network.
module akv-init-bench

go 1.21
