package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"sallyport/admin"
)

func upgradeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "upgrade",
		Short: "Have a new process take over from the running server",
		Long: "Start the program of the running server anew, with the arguments of the running server, and have the new process take over: the\n" +
			"binary that is there now, and the configuration as it is now. No connection is refused and no request fails. The new process\n" +
			"reads the configuration and opens everything first; if anything is wrong, the running server goes on as if nothing had happened.\n" +
			"Afterwards the former process ends: WebSockets, streams and downloads after listen.stream_grace, requests after listen.grace.",
		Example:     "  sallyport upgrade",
		Annotations: exits(exitError, "the new process did not take over, and the running server goes on"),
		Args:        cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := newControlClient(cmd)
			if err != nil {
				return err
			}
			var result upgradeResult
			if err := client.call(cmd.Context(), http.MethodPost, "/upgrade", nil, &result); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "process %d has taken over\n", result.PID)
			return nil
		},
	}
}

// upgradeResult is the body of the response to an upgrade.
type upgradeResult struct {
	PID int `json:"pid"` // of the process that serves now
}

func (c *control) upgrade(ctx context.Context, actor admin.Actor, _ *http.Request) (any, error) {
	pid, err := c.admin.Upgrade(ctx, actor)
	return upgradeResult{pid}, err
}
