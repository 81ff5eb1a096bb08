module k3s-ha.core/sandbox

go 1.26.7

require (
	github.com/k3s-io/api v0.2.1 // indirect
	github.com/rancher/wrangler/v3 v3.7.2 // indirect
)
