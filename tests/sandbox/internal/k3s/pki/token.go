// SPDX-License-Identifier: GPL-3.0-or-later

package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	tokenPrefix = "K10"
	tokenUser   = "server"
)

// Token is what lets a node join. In full it is K10<hash>::server:<secret>,
// where the hash is the SHA-256 of the servers' CA certificate in PEM; the
// secret alone is a token too, only the CA is then taken on trust.
type Token struct {
	CAHash string // empty in a short token
	Secret string
}

// ParseToken reads either form.
func ParseToken(s string) (Token, error) {
	s = strings.TrimSpace(s)
	rest, full := strings.CutPrefix(s, tokenPrefix)
	if !full || !strings.Contains(rest, "::") {
		if s == "" {
			return Token{}, errors.New("token: empty")
		}
		return Token{Secret: s}, nil
	}
	hash, credentials, _ := strings.Cut(rest, "::")
	if raw, err := hex.DecodeString(hash); err != nil || len(raw) != sha256.Size {
		return Token{}, errors.New("token: the CA hash is not a SHA-256")
	}
	_, secret, ok := strings.Cut(credentials, ":")
	if !ok || secret == "" {
		return Token{}, errors.New("token: no secret after the CA hash")
	}
	return Token{CAHash: hash, Secret: secret}, nil
}

// NewSecret makes the secret of a cluster that was given none.
func NewSecret() string {
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		panic(err) // crypto/rand does not fail on Linux
	}
	return hex.EncodeToString(raw)
}

// FullToken is the token in full for the servers' CA.
func FullToken(caPEM []byte, secret string) string {
	return fmt.Sprintf("%s%s::%s:%s", tokenPrefix, hashCA(caPEM), tokenUser, secret)
}

// CheckCA says whether the servers' CA is the one the token was made for.
func (t Token) CheckCA(caPEM []byte) error {
	if t.CAHash != "" && t.CAHash != hashCA(caPEM) {
		return errors.New("token: the server's CA does not have the hash that the token names")
	}
	return nil
}

// Matches compares secrets in constant time.
func (t Token) Matches(secret string) bool {
	return subtle.ConstantTimeCompare([]byte(t.Secret), []byte(secret)) == 1
}

func hashCA(caPEM []byte) string {
	sum := sha256.Sum256(caPEM)
	return hex.EncodeToString(sum[:])
}
