// SPDX-License-Identifier: GPL-3.0-or-later

// Package api asks a cluster's API server the few things that the sandbox itself wants to know.
package api

import (
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

// Client reads from one API server inside a cluster's network.
type Client struct {
	base string
	http *http.Client
}

type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			Server string `json:"server"`
			CA     []byte `json:"certificate-authority-data"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		User struct {
			Certificate []byte `json:"client-certificate-data"`
			Key         []byte `json:"client-key-data"`
		} `json:"user"`
	} `json:"users"`
}

// New reads a kubeconfig of k3s's kind: one cluster, one user, everything inline.
func New(netns, path string) (*Client, error) {
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
	return &Client{k.Clusters[0].Cluster.Server, &http.Client{Transport: transport, Timeout: 5 * time.Second}}, nil
}

// Close lets go of the connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) get(path string, into any) error {
	resp, err := c.http.Get(c.base + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return json.Unmarshal(body, into)
}

// ReadyNodes names the nodes whose Ready condition is True.
func (c *Client) ReadyNodes() (map[string]bool, error) {
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	if err := c.get("/api/v1/nodes", &list); err != nil {
		return nil, err
	}
	ready := map[string]bool{}
	for _, n := range list.Items {
		for _, cond := range n.Status.Conditions {
			if cond.Type == "Ready" {
				ready[n.Metadata.Name] = cond.Status == "True"
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
