// SPDX-License-Identifier: GPL-3.0-or-later

package join

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"k3s-ha.core/sandbox/internal/k3s/pki"
)

const (
	requestTimeout = 10 * time.Second
	maxReply       = 1 << 20
)

// Client speaks to one server's supervisor.
type Client struct {
	address string
	token   pki.Token
	http    *http.Client
}

// Dial fetches the servers' CA and checks it against the token's hash. With a
// short token the CA is taken on trust, as k3s does.
func Dial(ctx context.Context, address string, token pki.Token) (*Client, error) {
	blind := &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
	ca, err := do(ctx, blind, http.MethodGet, "https://"+address+pathCA, nil, nil)
	if err != nil {
		return nil, err
	}
	if err := token.CheckCA(ca); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s: no certificate in the answer", address)
	}
	return &Client{address, token, &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
	}}}, nil
}

// Node asks for everything a node needs.
func (c *Client) Node(ctx context.Context, r Request) (*Reply, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	data, err := do(ctx, c.http, http.MethodPost, "https://"+c.address+pathNode, body, c.auth)
	if err != nil {
		return nil, err
	}
	reply := &Reply{}
	return reply, json.Unmarshal(data, reply)
}

// Servers asks for the addresses of all apiservers.
func (c *Client) Servers(ctx context.Context) ([]string, error) {
	data, err := do(ctx, c.http, http.MethodGet, "https://"+c.address+pathServers, nil, c.auth)
	if err != nil {
		return nil, err
	}
	var servers []string
	return servers, json.Unmarshal(data, &servers)
}

// Bootstrap asks for what all servers share.
func (c *Client) Bootstrap(ctx context.Context) (*Bootstrap, error) {
	data, err := do(ctx, c.http, http.MethodGet, "https://"+c.address+pathShared, nil, c.auth)
	if err != nil {
		return nil, err
	}
	shared := &Bootstrap{}
	return shared, json.Unmarshal(data, shared)
}

// Member asks for a place in etcd and gets the initial cluster for the first
// start.
func (c *Client) Member(ctx context.Context, m Member) (initialCluster string, err error) {
	body, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	data, err := do(ctx, c.http, http.MethodPost, "https://"+c.address+pathMember, body, c.auth)
	if err != nil {
		return "", err
	}
	var p Place
	return p.InitialCluster, json.Unmarshal(data, &p)
}

func (c *Client) auth(r *http.Request) { r.SetBasicAuth(user, c.token.Secret) }

func do(ctx context.Context, h *http.Client, method, url string, body []byte, prepare func(*http.Request)) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if prepare != nil {
		prepare(req)
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		err := fmt.Errorf("%s: %s: %s", url, resp.Status, bytes.TrimSpace(data))
		if resp.StatusCode < http.StatusInternalServerError {
			err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return nil, err
	}
	return data, nil
}
