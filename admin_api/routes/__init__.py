"""One family of routes per file; `admin_api.app.ROUTERS` is the only list of them."""
