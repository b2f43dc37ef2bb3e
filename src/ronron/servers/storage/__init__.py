"""Where volumes are kept on a server: the pool of disks, and the folder shared over NFS."""
