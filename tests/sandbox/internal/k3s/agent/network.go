// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"k3s-ha.core/sandbox/internal/k3s/nodes"
	"k3s-ha.core/sandbox/internal/k3s/pki"
)

const (
	annotationArgs     = "k3s.io/node-args"
	annotationEnv      = "k3s.io/node-env"
	annotationHash     = "k3s.io/node-config-hash"
	annotationHostname = "k3s.io/hostname"
	annotationIP       = "k3s.io/internal-ip"

	resync = 30 * time.Second // routes can be lost with a link
)

// network follows the Nodes: this node's annotations and CNI configuration, the
// routes to the pods of all others (as flannel's host-gw does).
type network struct {
	a       *Agent
	kubelet kubernetes.Interface
	routes  map[string]string // node → pod CIDR that we have a route for
}

func (a *Agent) startNetwork(ctx context.Context) error {
	if err := masquerade(ctx, a.reply.Settings.ClusterCIDR); err != nil {
		return err
	}
	kubelet, err := a.client("kubelet")
	if err != nil {
		return err
	}
	watch, err := a.client("k3scontroller")
	if err != nil {
		return err
	}
	n := &network{a, kubelet, map[string]string{}}
	factory := informers.NewSharedInformerFactory(watch, resync)
	informer := factory.Core().V1().Nodes().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.handle(ctx, o, false) },
		UpdateFunc: func(_, o any) { n.handle(ctx, o, false) },
		DeleteFunc: func(o any) { n.handle(ctx, o, true) },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	return nil
}

func (a *Agent) client(name string) (kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", a.dir(name+".kubeconfig"))
	if err != nil {
		return nil, err
	}
	cfg.UserAgent = "k3s@" + a.c.NodeName
	return kubernetes.NewForConfig(cfg)
}

func (n *network) handle(ctx context.Context, obj any, removed bool) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	node, ok := obj.(*corev1.Node)
	if !ok {
		return
	}
	var err error
	if node.Name == n.a.c.NodeName {
		err = n.own(ctx, node, removed)
	} else {
		err = n.route(ctx, node, removed)
	}
	if err != nil && ctx.Err() == nil {
		n.a.group.Logf("node %s: %v", node.Name, err)
	}
}

func (n *network) own(ctx context.Context, node *corev1.Node, removed bool) error {
	if removed {
		return nil
	}
	if err := n.annotate(ctx, node); err != nil {
		return err
	}
	if node.Spec.PodCIDR == "" {
		return nil
	}
	return pki.WriteFile(n.a.etc("cni", "net.d", "10-k3s.conflist"), conflist(node.Spec.PodCIDR), 0o644)
}

func (n *network) annotate(ctx context.Context, node *corev1.Node) error {
	c := n.a.c
	want := map[string]string{
		annotationArgs:     c.NodeArgs,
		annotationEnv:      c.NodeEnv,
		annotationHash:     c.ConfigHash(),
		annotationHostname: c.NodeName,
		annotationIP:       c.NodeIP,
	}
	same := true
	for k, v := range want {
		same = same && node.Annotations[k] == v
	}
	if same {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": want}})
	if err != nil {
		return err
	}
	_, err = n.kubelet.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func (n *network) route(ctx context.Context, node *corev1.Node, removed bool) error {
	cidr, via := node.Spec.PodCIDR, nodes.InternalIP(node)
	if old := n.routes[node.Name]; old != "" && (removed || old != cidr) {
		if err := command(ctx, "ip", "route", "del", old); err != nil {
			return err
		}
		delete(n.routes, node.Name)
	}
	if removed || cidr == "" || via == "" {
		return nil
	}
	if err := command(ctx, "ip", "route", "replace", cidr, "via", via); err != nil {
		return err
	}
	n.routes[node.Name] = cidr
	return nil
}

func conflist(podCIDR string) []byte {
	return fmt.Appendf(nil, `{
  "name": "cbr0",
  "cniVersion": "1.0.0",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "hairpinMode": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": %q}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, podCIDR)
}

// masquerade lets pods out of the cluster under their node's address. Between
// pods, and from pods to nodes of the pod network, addresses stay what they are.
func masquerade(ctx context.Context, clusterCIDR string) error {
	for _, rule := range [][]string{
		{"nat", "POSTROUTING", "-s", clusterCIDR, "!", "-d", clusterCIDR, "-m", "comment", "--comment", "k3s pod masquerade", "-j", "MASQUERADE"},
		{"filter", "FORWARD", "-s", clusterCIDR, "-m", "comment", "--comment", "k3s pods", "-j", "ACCEPT"},
		{"filter", "FORWARD", "-d", clusterCIDR, "-m", "comment", "--comment", "k3s pods", "-j", "ACCEPT"},
	} {
		table, chain, match := rule[0], rule[1], rule[2:]
		check := append([]string{"-w", "-t", table, "-C", chain}, match...)
		if exec.CommandContext(ctx, "iptables", check...).Run() == nil {
			continue
		}
		if err := command(ctx, "iptables", append([]string{"-w", "-t", table, "-A", chain}, match...)...); err != nil {
			return err
		}
	}
	return nil
}

func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, bytes.TrimSpace(out))
	}
	return nil
}
