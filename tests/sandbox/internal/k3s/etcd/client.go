// SPDX-License-Identifier: GPL-3.0-or-later

// Package etcd is the datastore of clusters with several servers: one member
// runs on each, as a child of k3s.
package etcd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	requestTimeout = 10 * time.Second
	maxReply       = 1 << 20
)

// Client speaks to one member through its JSON gateway: five small calls, not
// worth a second gRPC stack in this program.
type Client struct {
	base string
	http *http.Client
}

// Member is one of the cluster's. It has no name before its first start.
type Member struct {
	ID       uint64   `json:"ID,string"`
	Name     string   `json:"name"`
	PeerURLs []string `json:"peerURLs"`
	Learner  bool     `json:"isLearner"`
}

// Status is what a member says of itself.
type Status struct {
	Header struct {
		MemberID uint64 `json:"member_id,string"`
	} `json:"header"`
	Leader  uint64 `json:"leader,string"` // 0: none
	Learner bool   `json:"isLearner"`
}

// IsLeader says whether the member that was asked leads.
func (s Status) IsLeader() bool { return s.Leader != 0 && s.Leader == s.Header.MemberID }

func newClient(endpoint, caFile, certFile, keyFile string) (*Client, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s: no certificate", caFile)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return &Client{endpoint, &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}},
	}}}, nil
}

// Status asks the member itself; it answers without a leader, too.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.call(ctx, "maintenance/status", struct{}{}, &s)
}

// Members lists all.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	var reply struct {
		Members []Member `json:"members"`
	}
	err := c.call(ctx, "cluster/member/list", struct{}{}, &reply)
	return reply.Members, err
}

// AddLearner adds a member that gets the data but has no vote yet. etcd takes
// one learner at a time.
func (c *Client) AddLearner(ctx context.Context, peerURL string) error {
	return c.call(ctx, "cluster/member/add", map[string]any{"peerURLs": []string{peerURL}, "isLearner": true}, nil)
}

// Promote gives a learner its vote. It fails until the learner has caught up.
func (c *Client) Promote(ctx context.Context, id uint64) error {
	return c.call(ctx, "cluster/member/promote", map[string]string{"ID": fmt.Sprint(id)}, nil)
}

// Remove takes a member out of the cluster for good.
func (c *Client) Remove(ctx context.Context, id uint64) error {
	return c.call(ctx, "cluster/member/remove", map[string]string{"ID": fmt.Sprint(id)}, nil)
}

func (c *Client) call(ctx context.Context, path string, request, reply any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v3/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var said struct {
			Message string `json:"message"`
		}
		if err := json.Unmarshal(data, &said); err != nil || said.Message == "" {
			said.Message = strings.TrimSpace(string(data))
		}
		return errors.New(said.Message)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(data, reply)
}
