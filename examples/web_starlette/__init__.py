"""A file server on Starlette and azdriver."""
