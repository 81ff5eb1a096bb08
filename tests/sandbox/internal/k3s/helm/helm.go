// SPDX-License-Identifier: GPL-3.0-or-later

// Package helm runs k3s-io/helm-controller's controllers inside the server, as k3s does.
package helm

import (
	"context"

	"github.com/k3s-io/helm-controller/pkg/controllers/chart"
	"github.com/k3s-io/helm-controller/pkg/generated/controllers/helm.cattle.io"
	"github.com/rancher/wrangler/v3/pkg/apply"
	"github.com/rancher/wrangler/v3/pkg/generated/controllers/batch"
	"github.com/rancher/wrangler/v3/pkg/generated/controllers/core"
	"github.com/rancher/wrangler/v3/pkg/generated/controllers/rbac"
	"github.com/rancher/wrangler/v3/pkg/ratelimit"
	"github.com/rancher/wrangler/v3/pkg/schemes"
	"github.com/rancher/wrangler/v3/pkg/start"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/versions"
)

const (
	controllerName = "helm-controller"
	// jobRole is what a chart's job may do: charts hold anything.
	jobRole = "cluster-admin"
	workers = 5
)

// Start runs the controllers until ctx ends. Its resource definitions must be served.
func Start(ctx context.Context, cfg *rest.Config, node string) error {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = controllerName + "@" + node
	cfg.RateLimiter = ratelimit.None
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	applier, err := apply.NewForConfig(cfg)
	if err != nil {
		return err
	}
	charts, err := helm.NewFactoryFromConfig(cfg)
	if err != nil {
		return err
	}
	jobs, err := batch.NewFactoryFromConfig(cfg)
	if err != nil {
		return err
	}
	objects, err := core.NewFactoryFromConfig(cfg)
	if err != nil {
		return err
	}
	roles, err := rbac.NewFactoryFromConfig(cfg)
	if err != nil {
		return err
	}
	events := record.NewBroadcaster(record.WithContext(ctx))
	events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events(metav1.NamespaceSystem)})
	recorder := events.NewRecorder(schemes.All, corev1.EventSource{Component: controllerName, Host: node})

	chart.DefaultJobImage = versions.Current().HelmJobImage()
	chart.Register(ctx, metav1.NamespaceAll, controllerName, jobRole, config.APIPort,
		applier.WithSetOwnerReference(false, false).WithContext(ctx), recorder,
		jobs.Batch().V1(), objects.Core().V1(), charts.Helm().V1(), roles.Rbac().V1())
	return start.All(ctx, workers, charts, jobs, objects, roles)
}
