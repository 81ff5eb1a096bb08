// SPDX-License-Identifier: GPL-3.0-or-later

// Package pki makes and keeps the cluster's certificates.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	caYears   = 10
	leafYears = 1
)

// Authority is a certificate authority that lies in <dir>/<name>.crt and .key.
type Authority struct {
	Cert *x509.Certificate
	PEM  []byte
	key  crypto.Signer
}

// Subject is what a certificate is made for. With SANs it may serve; it may
// always act as a client.
type Subject struct {
	Name   string
	Groups []string
	SANs   []string
}

// LoadAuthority reads an authority, or makes it if there is none.
func LoadAuthority(dir, name string) (*Authority, error) {
	crt, key := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	certPEM, err := os.ReadFile(crt)
	if errors.Is(err, fs.ErrNotExist) {
		return newAuthority(crt, key, fmt.Sprintf("k3s-%s@%d", name, time.Now().Unix()))
	} else if err != nil {
		return nil, err
	}
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", crt, err)
	}
	signer, err := loadKey(key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert, certPEM, signer}, nil
}

func newAuthority(crt, key, name string) (*Authority, error) {
	signer, err := LoadKey(key)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour).UTC(),
		NotAfter:              time.Now().AddDate(caYears, 0, 0).UTC(),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &Authority{cert, encodePEM("CERTIFICATE", der), signer}
	return a, WriteFile(crt, a.PEM, 0o644)
}

// Sign makes a certificate for a public key, followed by the authority's own so
// that a peer can build the chain.
func (a *Authority) Sign(s Subject, public crypto.PublicKey) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: s.Name, Organization: s.Groups},
		NotBefore:    time.Now().Add(-time.Hour).UTC(),
		NotAfter:     time.Now().AddDate(leafYears, 0, 0).UTC(),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(s.SANs) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, san := range s.SANs {
		if ip := net.ParseIP(san); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, san)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, public, a.key)
	if err != nil {
		return nil, err
	}
	return append(encodePEM("CERTIFICATE", der), a.PEM...), nil
}

// Issue writes <dir>/<name>.crt for the key <dir>/<name>.key. The key is kept
// over restarts; the certificate is made anew, so its names follow the
// configuration and it never runs out on a node that is restarted within a year.
func (a *Authority) Issue(dir, name string, s Subject) error {
	signer, err := LoadKey(filepath.Join(dir, name+".key"))
	if err != nil {
		return err
	}
	crt, err := a.Sign(s, signer.Public())
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, name+".crt"), crt, 0o644)
}

// LoadKey reads an EC private key, or makes it if there is none.
func LoadKey(file string) (crypto.Signer, error) {
	signer, err := loadKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return signer, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, WriteFile(file, encodePEM("EC PRIVATE KEY", der), 0o600)
}

func loadKey(file string) (crypto.Signer, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM", file)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// EncodePublic is a public key in PEM, as a certificate request of ours carries it.
func EncodePublic(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return encodePEM("PUBLIC KEY", der), nil
}

// DecodePublic is the reverse of EncodePublic.
func DecodePublic(data []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("public key: no PEM")
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// WriteFile replaces a file in one step and makes its directory. An unchanged
// file is left alone, so that components which watch it stay calm.
func WriteFile(file string, data []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, data) {
		return os.Chmod(file, mode)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, data, mode); err != nil {
		return err
	}
	if err := os.Chmod(tmp, mode); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

func parseCert(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail on Linux
	}
	return n
}
