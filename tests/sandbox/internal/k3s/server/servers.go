// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"context"
	"net"
	"slices"
	"strconv"
	"sync/atomic"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"k3s-ha.core/sandbox/internal/k3s/config"
)

// servers are the apiservers of the cluster as the Service default/kubernetes
// knows them. One that is dead drops out some seconds later.
type servers struct {
	list atomic.Pointer[[]string]
}

// with is this server first, then the others. As long as none are known it is
// the one that this server joined through.
func (s *servers) with(c *config.Config) []string {
	list := []string{c.APIAddress()}
	known := s.list.Load()
	if known == nil {
		known = &[]string{firstServer(c)}
	}
	for _, other := range *known {
		if other != "" && !slices.Contains(list, other) {
			list = append(list, other)
		}
	}
	return list
}

// follow keeps the list until ctx ends.
func (s *servers) follow(ctx context.Context, cfg *rest.Config) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(metav1.NamespaceDefault),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = discoveryv1.LabelServiceName + "=kubernetes" }))
	informer := factory.Discovery().V1().EndpointSlices().Informer()
	changed := func(any) {
		list := addresses(informer.GetStore().List())
		if len(list) > 0 {
			s.list.Store(&list)
		}
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed, UpdateFunc: func(_, o any) { changed(o) }, DeleteFunc: changed,
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	return nil
}

func addresses(objects []any) []string {
	var list []string
	for _, o := range objects {
		slice, ok := o.(*discoveryv1.EndpointSlice)
		if !ok || len(slice.Ports) == 0 || slice.Ports[0].Port == nil {
			continue
		}
		port := strconv.Itoa(int(*slice.Ports[0].Port))
		for _, e := range slice.Endpoints {
			for _, a := range e.Addresses {
				list = append(list, net.JoinHostPort(a, port))
			}
		}
	}
	slices.Sort(list)
	return list
}
