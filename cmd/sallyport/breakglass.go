package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/console"
)

func breakGlassCommand() *cobra.Command {
	c := &cobra.Command{Use: "breakglass", Short: "Let one user in without a login, while the identity provider is down"}
	c.AddCommand(armCommand(), disarmCommand())
	return c
}

func armCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "arm USER",
		Short: "Print a code with which a user begins one session without a login, once",
		Long: "Print a code with which a user begins one session without a login at the identity provider, for the day that it is down. USER is a\n" +
			"userName, an e-mail address, an externalId or an id. The code can be entered once, for 15 minutes, at the address that is printed with\n" +
			"it. It is in the memory of the running server alone: a restart disarms it, and so does a new code for the same user. The rules decide\n" +
			"as always what the session may open; one that demands a recent or strong sign-in does not let it in.",
		Example: "  sallyport breakglass arm ada@example.com --reason \"the identity provider is down\" --for 2h",
		Args:    cobra.ExactArgs(1),
	}
	lasting := durationFlag(c, "for", time.Hour, "how `LONG` from now until the session ends, between 1m and 12h")
	reason := c.Flags().String("reason", "", "`WHY`; it is recorded (required)")
	_ = c.MarkFlagRequired("reason")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := newControlClient(cmd)
		if err != nil {
			return err
		}
		var code admin.BreakGlassCode
		if err := client.call(cmd.Context(), http.MethodPost, breakGlassPath(args[0]), newCode{*reason, *lasting}, &code); err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "This code is shown once, and can be used once. Give it to %s alone.\n", code.UserName)
		return printTable(cmd, table{[]string{"user", "code", "address", "enter before", "session ends"},
			[][]string{{code.UserName, code.Code, code.Address, formatTime(&code.Enter), formatTime(&code.Until)}}, code})
	}
	return c
}

func disarmCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "disarm USER",
		Short:   "Make the code of a user invalid; a session that it began goes on until `sessions end`",
		Example: "  sallyport breakglass disarm ada@example.com",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := newControlClient(cmd)
			if err != nil {
				return err
			}
			if err := client.call(cmd.Context(), http.MethodDelete, breakGlassPath(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "disarmed")
			return nil
		},
	}
}

func breakGlassPath(user string) string { return "/users/" + url.PathEscape(user) + "/breakglass" }

// newCode asks for a break-glass code.
type newCode struct {
	Reason string        `json:"reason"`
	For    time.Duration `json:"for"` // nanoseconds
}

func (c *control) armBreakGlass(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[newCode](r)
	if err != nil {
		return nil, err
	}
	code, err := c.admin.ArmBreakGlass(ctx, actor, r.PathValue("user"), body.Reason, body.For)
	if err != nil {
		return nil, err
	}
	code.Address = strings.TrimSuffix(c.publicURL(), "/") + console.CodePath
	return code, nil
}

func (c *control) disarmBreakGlass(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return struct{}{}, c.admin.DisarmBreakGlass(ctx, actor, r.PathValue("user"))
}
