"""Files of other machines, which are only read: web servers, the hub, object stores."""
