// SPDX-License-Identifier: GPL-3.0-or-later

package join

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"k3s-ha.core/sandbox/internal/k3s/pki"
)

const maxRequest = 64 << 10

// Handler answers joining nodes on a server.
type Handler struct {
	Token    pki.Token
	ServerCA *pki.Authority
	ClientCA *pki.Authority
	Settings Settings
	Servers  func() []string
	// Shared reads what a joining server gets, and Admit gives it its place in
	// etcd. A server without etcd has no Admit.
	Shared func() (map[string][]byte, error)
	Admit  func(context.Context, Member) (Place, error)
}

// Routes are the supervisor's paths. All but the CA ask for the token.
func (h *Handler) Routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathCA, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		// A client that hung up is not the server's trouble.
		_, _ = w.Write(h.ServerCA.PEM)
	})
	mux.HandleFunc("POST "+pathNode, h.checked(h.node))
	mux.HandleFunc("GET "+pathServers, h.checked(func(http.ResponseWriter, *http.Request) (any, error) {
		return h.Servers(), nil
	}))
	mux.HandleFunc("GET "+pathShared, h.checked(func(http.ResponseWriter, *http.Request) (any, error) {
		files, err := h.Shared()
		return Bootstrap{files, h.Settings}, err
	}))
	mux.HandleFunc("POST "+pathMember, h.checked(h.member))
	return mux
}

func (h *Handler) checked(answer func(http.ResponseWriter, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, secret, ok := r.BasicAuth()
		if !ok || !h.Token.Matches(secret) {
			http.Error(w, "the token is not this cluster's", http.StatusUnauthorized)
			return
		}
		reply, err := answer(w, r)
		if err != nil {
			status := http.StatusBadRequest
			if errors.Is(err, ErrNotYet) {
				status = http.StatusServiceUnavailable
			}
			http.Error(w, err.Error(), status)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(reply) // as above
	}
}

func (h *Handler) member(w http.ResponseWriter, r *http.Request) (any, error) {
	if h.Admit == nil {
		return nil, errors.New("this cluster has one server, over sqlite: start that with cluster-init to have several")
	}
	var m Member
	if err := read(w, r, &m); err != nil {
		return nil, err
	}
	return h.Admit(r.Context(), m)
}

func read(w http.ResponseWriter, r *http.Request, into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func (h *Handler) node(w http.ResponseWriter, r *http.Request) (any, error) {
	var req Request
	if err := read(w, r, &req); err != nil {
		return nil, err
	}
	if req.Name == "" || req.IP == "" {
		return nil, fmt.Errorf("a node says its name and its address")
	}
	reply := Reply{
		Certs:    map[string][]byte{},
		ServerCA: h.ServerCA.PEM,
		ClientCA: h.ClientCA.PEM,
		Settings: h.Settings,
		Servers:  h.Servers(),
	}
	for purpose, key := range req.Keys {
		public, err := pki.DecodePublic(key)
		if err != nil {
			return nil, err
		}
		authority, subject, err := h.subject(purpose, req)
		if err != nil {
			return nil, err
		}
		if reply.Certs[purpose], err = authority.Sign(subject, public); err != nil {
			return nil, err
		}
	}
	return reply, nil
}

func (h *Handler) subject(purpose string, req Request) (*pki.Authority, pki.Subject, error) {
	switch purpose {
	case ServingKubelet:
		return h.ServerCA, pki.Subject{Name: req.Name, SANs: []string{req.Name, "localhost", "127.0.0.1", req.IP}}, nil
	case ClientKubelet:
		return h.ClientCA, pki.Subject{Name: "system:node:" + req.Name, Groups: []string{"system:nodes"}}, nil
	case ClientProxy:
		return h.ClientCA, pki.Subject{Name: "system:kube-proxy"}, nil
	case ClientAgent:
		return h.ClientCA, pki.Subject{Name: "system:k3s-controller"}, nil
	}
	return nil, pki.Subject{}, fmt.Errorf("no certificate for %q", purpose)
}
