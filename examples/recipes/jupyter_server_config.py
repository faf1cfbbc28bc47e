# JupyterLab behind Sallyport: docs/recipes/jupyterlab.md. The token, which Sallyport alone knows, shows that a request came
# by Sallyport; the headers say who sent it.
import os
from urllib.parse import unquote

from jupyter_server.auth import IdentityProvider, User


class Sallyport(IdentityProvider):
    async def get_user_token(self, handler):
        if await super().get_user_token(handler) is None:
            return None
        name = unquote(handler.request.headers.get("X-Forwarded-User", ""))
        return User(username=name, display_name=name) if name else None

    # A cookie would outlive the decision that let its owner in, and is valid at every port of the host.
    def get_user_cookie(self, handler):
        return None

    def set_login_cookie(self, handler, user):
        pass


c = get_config()  # noqa: F821
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port = 8888
c.ServerApp.open_browser = False
c.ServerApp.local_hostnames = ["jupyter.example.com"]
c.ServerApp.identity_provider_class = Sallyport
c.IdentityProvider.token = os.environ["JUPYTER_TOKEN"]
