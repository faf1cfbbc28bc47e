package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport/config"
	"sallyport/listen"
	"sallyport/store"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: "Run the server until SIGTERM or SIGINT; requests under way may then finish. A second signal ends them.\n" +
			"The configuration is read again on SIGHUP and when the file changes. On SIGUSR2 the program is started anew, and takes over\n" +
			"without refusing a connection, as `sallyport upgrade` does.\n" +
			"Listeners that systemd opened for the names public, scim, ops and http are used in place of those of the file.",
		Example: "  sallyport serve --init",
		Args:    cobra.NoArgs,
	}
	init := c.Flags().Bool("init", false, "create an empty store if there is none")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		former, err := findFormer()
		if err != nil {
			return err
		}
		err = serve(cmd, *init, former)
		former.fail(err) // has no effect once this process serves
		return err
	}
	return c
}

func serve(cmd *cobra.Command, init bool, former *former) error {
	path := configPath(cmd)
	file, err := config.LoadToServe(path)
	if err != nil {
		return err
	}
	if err := former.demandSame(file); err != nil {
		return err
	}
	log := newLogger(cmd.ErrOrStderr(), file.Log)
	limitMemory("/sys/fs/cgroup/memory.max")
	collectGarbageAt(gcPercentOfStart)
	sockets, err := listen.Activated()
	if err != nil {
		return err
	}
	program, err := programPath()
	if err != nil {
		return err
	}
	s, err := openServer(cmd.Context(), path, file, init && former == nil, newSuccession(program, former), log)
	if err != nil {
		return err
	}
	collectGarbageAt(gcPercent)
	s.sockets = sockets
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR2)
	defer signal.Stop(signals)
	return s.Run(cmd.Context(), signals)
}

// initCommand creates an empty store without starting the server.
func initCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "init",
		Short:   "Create an empty store at the configured path",
		Example: "  sallyport init",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := config.Load(configPath(cmd))
			if err != nil {
				return err
			}
			if err := demandNoStore(cmd.Context(), file.Store); err != nil {
				return err
			}
			r, err := openComponents(cmd.Context(), file, true, nil, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			if err := r.during(cmd.Context(), func(context.Context) error { return nil }); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "created an empty store at %s\n", file.Store)
			return nil
		},
	}
}

// demandNoStore returns an error if there is a store already, or if that cannot be found out.
func demandNoStore(ctx context.Context, s config.Store) error {
	if s.Bolt != nil {
		if info, err := os.Stat(s.Bolt.Path); err == nil && info.Size() > 0 {
			return fmt.Errorf("there is a store at %s already; nothing was done", s)
		}
		return nil
	}
	st, err := openStore(ctx, s, false, nil)
	if errors.Is(err, store.ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(fmt.Errorf("there is a store in %s already; nothing was done", s), st.Close())
}
