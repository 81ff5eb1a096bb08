// SPDX-License-Identifier: GPL-3.0-or-later

// Package api asks a cluster's API server the few things that the sandbox itself wants to know.
package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"sigs.k8s.io/yaml"

	"k3s-ha.core/sandbox/internal/network"
)

// Patience is for one request of a person's, or of up's.
const Patience = 5 * time.Second

// URL is that of the API server on a node.
func URL(address string) string { return "https://" + net.JoinHostPort(address, "6443") }

// Client reads from one API server inside a cluster's network.
type Client struct {
	base string
	http *http.Client
}

type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			CA []byte `json:"certificate-authority-data"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		User struct {
			Certificate []byte `json:"client-certificate-data"`
			Key         []byte `json:"client-key-data"`
		} `json:"user"`
	} `json:"users"`
}

// New reads a kubeconfig of k3s's kind: one cluster, one user, everything inline. The client speaks to the server at
// an address; its patience is for one request.
func New(netns, path, address string, patience time.Duration) (*Client, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var k kubeconfig
	if err := yaml.Unmarshal(text, &k); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(k.Clusters) != 1 || len(k.Users) != 1 {
		return nil, fmt.Errorf("%s does not name one cluster and one user", path)
	}
	pair, err := tls.X509KeyPair(k.Users[0].User.Certificate, k.Users[0].User.Key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(k.Clusters[0].Cluster.CA) {
		return nil, fmt.Errorf("%s: no certificate authority", path)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return network.Dial(ctx, netns, address)
		},
	}
	return &Client{URL(address), &http.Client{Transport: transport, Timeout: patience}}, nil
}

// Close lets go of the connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Get asks for a path and gives the body.
func (c *Client) Get(path string) ([]byte, error) { return c.do(http.MethodGet, path, "", nil) }

// Create makes an object in a collection.
func (c *Client) Create(path string, object any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	_, err = c.do(http.MethodPost, path, "application/json", body)
	return err
}

// Annotate writes an annotation of a namespace.
func (c *Client) Annotate(namespace, key, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{key: value}}})
	if err != nil {
		return err
	}
	_, err = c.do(http.MethodPatch, "/api/v1/namespaces/"+namespace, "application/merge-patch+json", patch)
	return err
}

func (c *Client) do(method, path, kind string, content []byte) ([]byte, error) {
	req, err := http.NewRequest(method, c.base+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return body, err
}

func (c *Client) get(path string, into any) error {
	body, err := c.Get(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// ReadyNodes names the nodes whose Ready condition is True.
func (c *Client) ReadyNodes() (map[string]bool, error) {
	kubelets, err := c.ReadyKubelets()
	if err != nil {
		return nil, err
	}
	ready := map[string]bool{}
	for name := range kubelets {
		ready[name] = true
	}
	return ready, nil
}

// ReadyKubelets are the versions of the nodes whose Ready condition is True.
func (c *Client) ReadyKubelets() (map[string]string, error) {
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				Conditions []struct{ Type, Status string }
				NodeInfo   struct{ KubeletVersion string }
			}
		}
	}
	if err := c.get("/api/v1/nodes", &list); err != nil {
		return nil, err
	}
	ready := map[string]string{}
	for _, n := range list.Items {
		for _, cond := range n.Status.Conditions {
			if cond.Type == "Ready" && cond.Status == "True" {
				ready[n.Metadata.Name] = n.Status.NodeInfo.KubeletVersion
			}
		}
	}
	return ready, nil
}

// ReadyReplicas is how many pods of a Deployment are ready; a Deployment that is not there yet has none.
func (c *Client) ReadyReplicas(namespace, name string) (int, error) {
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct{ ReadyReplicas int }
		}
	}
	if err := c.get("/apis/apps/v1/namespaces/"+namespace+"/deployments", &list); err != nil {
		return 0, err
	}
	for _, d := range list.Items {
		if d.Metadata.Name == name {
			return d.Status.ReadyReplicas, nil
		}
	}
	return 0, nil
}
