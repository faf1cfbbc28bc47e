package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/session"
)

const longestReason = 500 // bytes

// suspensionRequest says why a user is suspended.
type suspensionRequest struct {
	Reason string `json:"reason"`
}

// suspendUser shuts a user out at once: recorded first, then the next request is
// refused, live ones are cut, and sessions are over for ever.
func (c *control) suspendUser(r *http.Request) (any, error) {
	var in suspensionRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	in.Reason = strings.TrimSpace(in.Reason)
	if in.Reason == "" || len(in.Reason) > longestReason {
		return nil, fmt.Errorf("say why, in at most %d characters: it is recorded", longestReason)
	}
	u, err := c.findUser(r)
	if err != nil {
		return nil, err
	}
	err = c.note(audit.Event{Kind: audit.KindSuspend, User: u.ID, UserName: u.UserName, Reason: "suspended", Detail: map[string]string{"why": in.Reason}})
	if err != nil {
		return nil, err
	}
	if err := c.directory.Update(r.Context(), func(tx *directory.Tx) error { return tx.Suspend(u.ID, in.Reason) }); err != nil {
		return nil, fmt.Errorf("suspending %s: %w", u.UserName, err)
	}
	n, err := c.sessions.EndUser(r.Context(), u.ID, session.ReasonUser)
	return map[string]int{"sessions_ended": n}, err
}

func (c *control) unsuspendUser(r *http.Request) (any, error) {
	u, err := c.findUser(r)
	if err != nil {
		return nil, err
	}
	if err := c.note(audit.Event{Kind: audit.KindSuspend, User: u.ID, UserName: u.UserName, Reason: "unsuspended"}); err != nil {
		return nil, err
	}
	err = c.directory.Update(r.Context(), func(tx *directory.Tx) error { return tx.Unsuspend(u.ID) })
	if errors.Is(err, directory.ErrNotFound) {
		return nil, fmt.Errorf("%s is not suspended; `sallyport users list` shows who is", u.UserName)
	}
	return struct{}{}, err
}

// findUser is the user that a request names by userName or id.
func (c *control) findUser(r *http.Request) (u directory.User, err error) {
	name := r.PathValue("user")
	err = c.directory.View(r.Context(), func(tx *directory.Tx) error {
		if u, err = tx.UserByName(name); errors.Is(err, directory.ErrNotFound) {
			u, err = tx.User(name)
		}
		return err
	})
	if errors.Is(err, directory.ErrNotFound) {
		err = fmt.Errorf("nobody has the userName or id %q; `sallyport users list` shows who there is", name)
	}
	return u, err
}

func suspendCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "suspend USER",
		Short: "Shut a user out at once, whatever the identity provider says, until unsuspend",
		Long: "Shut a user (userName or ID) out at once, whatever the identity provider says, until unsuspend. What they have open is cut,\n" +
			"and their sessions are over for ever. It survives a restart and every push but the deletion of the user.",
		Args: cobra.ExactArgs(1),
	}
	reason := c.Flags().String("reason", "", "why; it is recorded (required)")
	_ = c.MarkFlagRequired("reason")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := newOperator(cmd)
		if err != nil {
			return err
		}
		var n map[string]int
		if err := o.ask(cmd.Context(), http.MethodPost, suspensionPath(args[0]), suspensionRequest{*reason}, &n); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "suspended; %d sessions ended\n", n["sessions_ended"])
		return nil
	}
	return c
}

func unsuspendCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "unsuspend USER",
		Short: "Let a suspended user in again, as far as the identity provider and the rules do; they sign in anew",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := newOperator(cmd)
			if err != nil {
				return err
			}
			return o.ask(cmd.Context(), http.MethodDelete, suspensionPath(args[0]), nil, nil)
		},
	}
}

func suspensionPath(user string) string { return "/users/" + url.PathEscape(user) + "/suspension" }
