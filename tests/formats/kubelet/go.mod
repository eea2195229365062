// The kubelet's own parser of env files. Never `go mod tidy`: the module's requirements are v0.0.0 of its own staging
// directories, which only its replace directives can find, and none of them is needed.
module akv-init-formats-kubelet

go 1.25.0

require k8s.io/kubernetes v1.35.4
