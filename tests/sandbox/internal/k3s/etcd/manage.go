// SPDX-License-Identifier: GPL-3.0-or-later

package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const (
	// ConditionVoter is on the Node of every server with etcd.
	ConditionVoter corev1.NodeConditionType = "EtcdIsVoter"

	managePeriod    = 2 * time.Second
	conditionPeriod = 15 * time.Second
	// A learner that has not caught up for this long gives its place away: etcd
	// takes one at a time, and a server that died while it joined would keep all
	// others out.
	learnerPatience = 5 * time.Minute
)

// Manager does what the server whose member leads does for all: it gives
// learners their vote and writes on the Nodes who has one.
type Manager struct {
	etcd   *Etcd
	nodes  kubernetes.Interface
	log    func(string, ...any)
	waited map[uint64]time.Time // learner → since when we wait for it
	seen   map[string]bool      // Nodes of members that were there
	next   time.Time            // when the Nodes are looked at again
	told   string
}

// NewManager makes the manager of one server.
func NewManager(e *Etcd, nodes kubernetes.Interface, log func(string, ...any)) *Manager {
	return &Manager{etcd: e, nodes: nodes, log: log, waited: map[uint64]time.Time{}, seen: map[string]bool{}}
}

// Run works until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	tick := time.NewTicker(managePeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := m.pass(ctx)
		if text := fmt.Sprint(err); err != nil && text != m.told && ctx.Err() == nil {
			m.log("etcd: %s", text) // once for each reason
			m.told = text
		}
		if err == nil {
			m.told = ""
		}
	}
}

func (m *Manager) pass(ctx context.Context) error {
	s, err := m.etcd.client.Status(ctx)
	if err != nil || !s.IsLeader() {
		clear(m.waited)
		return nil // its own server says so if that lasts
	}
	members, err := m.etcd.client.Members(ctx)
	if err != nil {
		return err
	}
	for i := range members {
		if members[i].Learner {
			if err := m.promote(ctx, &members[i]); err != nil {
				return err
			}
		}
	}
	if time.Now().Before(m.next) {
		return nil
	}
	if err := m.conditions(ctx, members, s.Header.MemberID); err != nil {
		return err
	}
	m.next = time.Now().Add(conditionPeriod)
	return nil
}

func (m *Manager) promote(ctx context.Context, learner *Member) error {
	since, ok := m.waited[learner.ID]
	if !ok {
		since = time.Now()
		m.waited[learner.ID] = since
	}
	err := m.etcd.client.Promote(ctx, learner.ID)
	switch {
	case err == nil:
		m.log("etcd: %s has a vote now, after %s", learner.Name, time.Since(since).Round(time.Second))
		learner.Learner = false
		m.next = time.Time{}
	case time.Since(since) > learnerPatience:
		m.log("etcd: learner at %v did not catch up within %s: it is removed", learner.PeerURLs, learnerPatience)
		err = m.etcd.client.Remove(ctx, learner.ID)
	default:
		return nil // not caught up yet
	}
	delete(m.waited, learner.ID)
	return err
}

// conditions keeps EtcdIsVoter of every member's Node. A member whose Node is
// deleted leaves the cluster, as in k3s; the one that leads, ours, stays.
func (m *Manager) conditions(ctx context.Context, members []Member, self uint64) error {
	var failed []error
	for _, member := range members {
		if member.Name == "" {
			continue // never started
		}
		node := nodeName(member.Name)
		err := m.condition(ctx, node, voter(member.Learner))
		switch {
		case err == nil:
			m.seen[node] = true
		case !apierrors.IsNotFound(err):
			failed = append(failed, err)
		case m.seen[node] && member.ID != self:
			m.log("etcd: Node %s is deleted: member %s is removed", node, member.Name)
			failed = append(failed, m.etcd.client.Remove(ctx, member.ID))
			delete(m.seen, node)
		}
	}
	return errors.Join(failed...)
}

func voter(learner bool) corev1.NodeCondition {
	if learner {
		return corev1.NodeCondition{
			Type: ConditionVoter, Status: corev1.ConditionFalse,
			Reason: "MemberIsLearner", Message: "Node has not been promoted to voting member of the etcd cluster",
		}
	}
	return corev1.NodeCondition{
		Type: ConditionVoter, Status: corev1.ConditionTrue,
		Reason: "MemberNotLearner", Message: "Node is a voting member of the etcd cluster",
	}
}

func (m *Manager) condition(ctx context.Context, name string, want corev1.NodeCondition) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// From the watch cache: a quiet cluster's datastore is not asked each time.
	node, err := m.nodes.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == want.Type && c.Status == want.Status
	}) {
		return nil
	}
	want.LastHeartbeatTime, want.LastTransitionTime = metav1.Now(), metav1.Now()
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{want}}})
	if err != nil {
		return err
	}
	_, err = m.nodes.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
