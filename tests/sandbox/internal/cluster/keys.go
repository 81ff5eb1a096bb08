// SPDX-License-Identifier: GPL-3.0-or-later

package cluster

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"

	"golang.org/x/crypto/ssh"

	"k3s-ha.core/sandbox/internal/node"
	"k3s-ha.core/sandbox/internal/state"
)

// sshKeys makes the cluster's keys: one that every node shows, so that no one is ever asked about it, and one that
// opens every node to its user.
func sshKeys(c *state.Cluster) (node.Keys, error) {
	hostPrivate, hostPublic, err := sshKey("sandbox host")
	if err != nil {
		return node.Keys{}, err
	}
	userPrivate, userPublic, err := sshKey("sandbox user")
	if err != nil {
		return node.Keys{}, err
	}
	if err := state.WriteFile(c.Path("ssh_key"), userPrivate, 0o600); err != nil {
		return node.Keys{}, err
	}
	known := append([]byte("* "), hostPublic...)
	if err := state.WriteFile(c.Path("known_hosts"), known, 0o644); err != nil {
		return node.Keys{}, err
	}
	return node.Keys{HostPrivate: hostPrivate, HostPublic: hostPublic, Authorized: userPublic}, nil
}

func sshKey(comment string) (private, public []byte, err error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(priv, comment)
	if err != nil {
		return nil, nil, err
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(sshPub), nil
}

func token() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
