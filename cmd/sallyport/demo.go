package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"sallyport/config"
	"sallyport/demo"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show it all on this machine: a make-believe company, its identity provider and three applications",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "sallyport-demo-")
			if err != nil {
				return err
			}
			err = runDemo(cmd, dir)
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			return errors.Join(err, os.RemoveAll(dir))
		},
	}
}

// runDemo runs the demo's world and the real server, from a configuration file
// in dir like any other.
func runDemo(cmd *cobra.Command, dir string) error {
	settings := demo.Defaults()
	settings.Folder = dir
	world, err := demo.New(settings)
	if err != nil {
		return err
	}
	if err := world.Listen(); err != nil {
		return err
	}
	path, err := furnish(dir, world)
	if err != nil {
		return err
	}
	file, err := config.Load(path)
	if err != nil {
		return err
	}
	s, err := openServer(cmd.Context(), path, file, true, newLogger(cmd.ErrOrStderr(), config.Log{Level: "warn", Format: "text"}))
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(cmd.Context())
	g.Go(func() error { return world.Run(ctx) })
	g.Go(func() error { return s.Run(ctx, nil) })
	g.Go(func() error { return populate(ctx, cmd, world, &operator{file}) })
	return g.Wait()
}

// furnish writes the configuration and the secrets it names, and returns its path.
func furnish(dir string, world *demo.World) (path string, err error) {
	files := map[string][]byte{"sallyport.yaml": world.Config()}
	for name, secret := range world.Secrets() {
		files[name] = []byte(secret)
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "sallyport.yaml"), nil
}

// populate has the make-believe company push everybody, once the server is ready.
func populate(ctx context.Context, cmd *cobra.Command, world *demo.World, o *operator) error {
	if err := awaitReady(ctx, o.file.Listen.Ops); err != nil {
		return err
	}
	var t tokenView
	if err := o.ask(ctx, http.MethodPost, "/tokens", tokenRequest{Name: "demo"}, &t); err != nil {
		return err
	}
	if err := world.Connect("http://"+o.file.Listen.SCIM+"/scim/v2", t.Token, http.DefaultClient); err != nil {
		return fmt.Errorf("pushing the make-believe company: %w", err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Sallyport is ready. Open %s in a browser; stop with Ctrl-C.\n", world.URL())
	return nil
}

// awaitReady asks until the server answers.
func awaitReady(ctx context.Context, addr string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for checkReady(ctx, addr) != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
