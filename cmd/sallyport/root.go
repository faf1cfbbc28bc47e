package main

import (
	"github.com/spf13/cobra"
)

// rootCommand returns the tree of verbs.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "An identity-aware reverse proxy that follows your identity provider",
		Long: "Sallyport receives SCIM pushes from Entra ID or Okta, lets signed-in users and API callers\n" +
			"reach the upstreams your policy allows, and ends their access at once when they leave.",
		Args:          cobra.ArbitraryArgs, // run refuses those that name no command, here and in every group of commands
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringP("config", "c", "sallyport.yaml", "the configuration `FILE`")
	root.AddCommand(
		serveCommand(), demoCommand(), initCommand(), importCommand(), validateCommand(), configCommand(),
		tokenCommand(), usersCommand(), groupsCommand(), searchCommand(), sessionsCommand(), liveCommand(), requestCommand(), grantsCommand(), breakGlassCommand(), scimCommand(),
		explainCommand(), accessCommand(), testCommand(), statsCommand(),
		auditCommand(), backupCommand(), restoreCommand(), storeCommand(), webhookCommand(), reloadCommand(), upgradeCommand(), doctorCommand(), bundleCommand(), healthcheckCommand(), completionCommand(), manCommand(), versionCommand(),
	)
	addHelpCommand(root)
	addExitStatus(root)
	addUsage(root)
	addCompletions(root)
	return root
}

// configPath returns the value of -c, --config.
func configPath(cmd *cobra.Command) string {
	path, _ := cmd.Flags().GetString("config")
	return path
}
