"""What is known of images that stack files commonly run; facts from their pages and Dockerfiles."""

from __future__ import annotations

import re
from typing import NamedTuple

DATABASE_FOLDERS = (
    "/bitnami/mariadb",
    "/bitnami/mongodb",
    "/bitnami/mysql",
    "/bitnami/postgresql",
    "/bitnami/redis",
    "/data/db",
    "/opt/couchdb/data",
    "/usr/share/elasticsearch/data",
    "/usr/share/opensearch/data",
    "/var/lib/clickhouse",
    "/var/lib/influxdb",
    "/var/lib/influxdb2",
    "/var/lib/mysql",
    "/var/lib/neo4j/data",
    "/var/lib/postgresql",
    "/var/lib/rabbitmq",
    "/var/lib/redis",
    "/etc/ldap/slapd.d",
    "/var/lib/ldap",
)
"""Folders in which a database keeps its data, whatever the image is called."""

_DATABASE_IMAGES = {
    "keydb": "/data",
    "redis": "/data",
    "valkey": "/data",
    "qdrant": "/qdrant/storage",
    "meilisearch": "/meili_data",
    "mongo": "/data",
}

_PORTS = {
    "adminer": 8080,
    "caddy": 80,
    "drupal": 80,
    "forgejo": 3000,
    "ghost": 2368,
    "gitea": 3000,
    "grafana": 3000,
    "hedgedoc": 3000,
    "homeassistant": 8123,
    "httpd": 80,
    "jenkins": 8080,
    "jellyfin": 8096,
    "joomla": 80,
    "mailhog": 8025,
    "matomo": 80,
    "mattermost-team-edition": 8065,
    "mediawiki": 80,
    "minio": 9000,
    "n8n": 5678,
    "nextcloud": 80,
    "nginx": 80,
    "odoo": 8069,
    "openproject": 80,
    "phpmyadmin": 80,
    "portainer-ce": 9000,
    "prestashop": 80,
    "prometheus": 9090,
    "redmine": 3000,
    "rocket.chat": 3000,
    "server": 80,
    "sonarqube": 9000,
    "synapse": 8008,
    "traefik-whoami": 80,
    "uptime-kuma": 3001,
    "vaultwarden": 80,
    "whoami": 80,
    "wordpress": 80,
}

NOT_WEB = frozenset(
    {21, 22, 25, 53, 110, 143, 389, 465, 587, 636, 993, 995, 1883, 2222, 3306, 3478, 4222, 5222}
    | {5269, 5349, 5432, 5672, 6379, 8883, 9042, 11211, 27017, 50000}
)
"""Ports that never speak HTTP."""

WEB_PORTS = (80, 8080, 3000, 8000, 5000, 2368, 8888, 9000, 4000, 5678, 8081, 8069, 8096, 3001)
"""Ports that mostly speak HTTP, the likeliest first."""

_FILE_VARIABLES = {
    "mariadb": r"(MARIADB|MYSQL)_(ROOT_)?PASSWORD",
    "mysql": r"MYSQL_(ROOT_)?PASSWORD",
    "percona": r"MYSQL_(ROOT_)?PASSWORD",
    "postgres": r"POSTGRES_PASSWORD",
    "postgis": r"POSTGRES_PASSWORD",
    "timescaledb": r"POSTGRES_PASSWORD",
    "pgvector": r"POSTGRES_PASSWORD",
    "mongo": r"MONGO_INITDB_ROOT_PASSWORD",
    "wordpress": r"WORDPRESS_(DB_PASSWORD|AUTH_KEY|SECURE_AUTH_KEY|LOGGED_IN_KEY|NONCE_KEY"
    r"|AUTH_SALT|SECURE_AUTH_SALT|LOGGED_IN_SALT|NONCE_SALT)",
    "nextcloud": r"(MYSQL|POSTGRES|NEXTCLOUD_ADMIN)_PASSWORD|REDIS_HOST_PASSWORD",
    "joomla": r"JOOMLA_DB_PASSWORD",
    "redmine": r"REDMINE_DB_PASSWORD|REDMINE_SECRET_KEY_BASE",
    "phpmyadmin": r"PMA_PASSWORD|MYSQL_ROOT_PASSWORD|MYSQL_PASSWORD",
    "vaultwarden": r"[A-Z_]+",
    "influxdb": r"DOCKER_INFLUXDB_INIT_(PASSWORD|ADMIN_TOKEN)",
    "odoo": r"PASSWORD",
    "keycloak": r"(?!)",
    "minio": r"MINIO_ROOT_PASSWORD",
    "pgadmin4": r"PGADMIN_DEFAULT_PASSWORD",
    "neo4j": r"(?!)",
}


class Image(NamedTuple):
    """An image's reference, taken apart: `docker.io/library/redis:7` is `redis`, tag `7`."""

    repository: str
    name: str
    tag: str
    digest: str


def split_image(reference: str) -> Image:
    """Take an image's reference apart."""
    rest, _, digest = reference.partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        head, tag = rest, ""
    return Image(head, head.rpartition("/")[2], tag, digest)


def is_database_folder(image: str, target: str) -> bool:
    """Whether `target` is where the image `image` keeps a database."""
    folder = target.rstrip("/") or "/"
    for known in DATABASE_FOLDERS:
        if folder == known or folder.startswith(f"{known}/"):
            return True
    known = _DATABASE_IMAGES.get(split_image(image).name, "")
    return bool(known) and (folder == known or folder.startswith(f"{known}/"))


def known_port(image: str) -> int | None:
    """Return the port that the image's web server listens on, where it is known."""
    parts = split_image(image)
    if parts.name == "server":
        return (
            80 if parts.repository.endswith(("vaultwarden/server", "bitwardenrs/server")) else None
        )
    return _PORTS.get(parts.name)


def file_variable(image: str, variable: str) -> str | None:
    """Return the variable that names a file holding what `variable` would, if the image has it."""
    parts = split_image(image)
    if parts.repository.startswith(("lscr.io/linuxserver/", "linuxserver/")):
        return f"FILE__{variable}"
    if parts.name in ("gitea", "forgejo") and variable.startswith(("GITEA__", "FORGEJO__")):
        return f"{variable}__FILE"
    if parts.name in ("grafana", "grafana-oss") and variable.startswith("GF_"):
        return f"{variable}__FILE"
    name = "vaultwarden" if parts.repository.endswith("vaultwarden/server") else parts.name
    bitnami = "/bitnami/" in f"/{parts.repository}" and re.search(r"PASSWORD$", variable)
    if bitnami or re.fullmatch(_FILE_VARIABLES.get(name, r"(?!)"), variable):
        return f"{variable}_FILE"
    return None
