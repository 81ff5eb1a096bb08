// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"fmt"
	"net"
	"os"
	"strings"

	"k3s-ha.core/sandbox/internal/k3s"
	"k3s-ha.core/sandbox/internal/k3s/join"
	"k3s-ha.core/sandbox/internal/k3s/pki"
)

const instanceType = "k3s"

// startKubelet: what an operator may want to change lies in the drop-in
// directory, where files of theirs come after ours; what is the node's own is
// on the command line.
func (a *Agent) startKubelet() error {
	resolv, err := a.resolvConf("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if err := pki.WriteFile(a.etc("kubelet.conf.d", "00-k3s-defaults.conf"), a.kubeletConfig(resolv), 0o600); err != nil {
		return err
	}
	labels := append([]string{
		"node.kubernetes.io/instance-type=" + instanceType,
	}, a.c.NodeLabels...)
	args := k3s.Arguments{
		"config-dir":        a.etc("kubelet.conf.d"),
		"hostname-override": a.c.NodeName,
		"kubeconfig":        a.dir("kubelet.kubeconfig"),
		"node-ip":           strings.Join(a.c.NodeIPs, ","),
		"node-labels":       strings.Join(labels, ","),
		"provider-id":       "k3s://" + a.c.NodeName,
	}
	if len(a.c.NodeTaints) > 0 {
		args["register-with-taints"] = strings.Join(a.c.NodeTaints, ",")
	}
	return a.start("kubelet", "kube", append([]string{"kubelet"}, args.With(a.c.KubeletArgs)...)...)
}

func (a *Agent) kubeletConfig(resolv string) []byte {
	return fmt.Appendf(nil, `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: %s
authorization:
  mode: Webhook
cgroupDriver: cgroupfs
clusterDNS: [%s]
clusterDomain: %s
containerRuntimeEndpoint: unix://%s
evictionHard:
  imagefs.available: 5%%
  nodefs.available: 5%%
evictionMinimumReclaim:
  imagefs.available: 10%%
  nodefs.available: 10%%
failSwapOn: false
healthzBindAddress: 127.0.0.1
resolvConf: %s
serializeImagePulls: false
tlsCertFile: %s
tlsPrivateKeyFile: %s
`, a.dir("client-ca.crt"), a.reply.Settings.ClusterDNS, a.reply.Settings.ClusterDomain, Socket, resolv,
		a.dir(join.ServingKubelet+".crt"), a.dir(join.ServingKubelet+".key"))
}

// resolvConf is the file that pods with dnsPolicy Default get. A name server on
// loopback is none for a pod, and CoreDNS refuses to forward to an empty list: k3s
// then names a public one, and so do we (inside the sandbox nothing answers there).
func (a *Agent) resolvConf(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return "", err
	}
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == "nameserver" {
			if ip := net.ParseIP(f[1]); ip != nil && ip.IsGlobalUnicast() {
				return file, nil
			}
		}
	}
	own := a.etc("resolv.conf")
	return own, pki.WriteFile(own, []byte("nameserver 8.8.8.8\n"), 0o644)
}

func (a *Agent) startProxy() error {
	return a.start("kube-proxy", "kube", append([]string{"kube-proxy"}, k3s.Arguments{
		"cluster-cidr":         a.reply.Settings.ClusterCIDR,
		"healthz-bind-address": "127.0.0.1",
		"hostname-override":    a.c.NodeName,
		"kubeconfig":           a.dir("kubeproxy.kubeconfig"),
		"metrics-bind-address": "127.0.0.1",
		"proxy-mode":           "iptables",
	}.With(a.c.ProxyArgs)...)...)
}
