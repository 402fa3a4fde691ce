"""A file server on aiohttp.web and azdriver."""
