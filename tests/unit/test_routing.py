"""The names that apps see on the network that all of them share with the proxy."""

from typing import Any

import pytest

from ronron.catalog.recipe import Web
from ronron.catalog.routing import PROXY_NETWORK, overlay_options, settle_names
from ronron.errors import SiteError
from ronron.site.models import Site


def stack(**services: Any) -> dict[str, Any]:
    return {"services": {name: body or {} for name, body in services.items()}}


def public(*networks: str) -> dict[str, Any]:
    return {"networks": [*networks, PROXY_NETWORK]}


def test_a_web_service_called_like_anothers_database_is_called_web() -> None:
    compose = stack(db=public("default"), worker=None)
    settle_names(compose, "wiki", Web(service="db", port=80))
    assert set(compose["services"]) == {"web", "worker"}
    assert compose["services"]["web"]["networks"] == {
        "default": {"aliases": ["db"]},
        PROXY_NETWORK: None,
    }


def test_other_services_behind_the_proxy_have_names_of_their_own() -> None:
    compose = stack(site=public("default"), api=public("inner"), db=None)
    settle_names(compose, "shop", Web(service="site", port=80))
    assert set(compose["services"]) == {"web", "web.api", "db"}
    assert compose["services"]["web.api"]["networks"]["inner"] == {"aliases": ["api"]}


def test_an_app_that_has_its_names_right_is_left_alone() -> None:
    compose = stack(web=public("default"), db=None)
    settle_names(compose, "blog", Web(service="web", port=80))
    assert compose["services"] == {"web": public("default"), "db": {}}


@pytest.mark.parametrize("private", ["web", "proxy"])
def test_a_private_service_must_not_have_a_public_name(private: str) -> None:
    compose = stack(site=public("default"), **{private: None})
    with pytest.raises(SiteError, match=r"apps/shop\.yml: services\.") as refused:
        settle_names(compose, "shop", Web(service="site", port=80))
    assert "rename the service" in str(refused.value)


@pytest.mark.parametrize(("encrypted", "mtu"), [(False, "1450"), (True, "1400")])
def test_an_overlay_leaves_room_for_its_own_headers(encrypted: bool, mtu: str) -> None:
    site = Site.model_validate(
        {
            "name": "x",
            "domain": "example.org",
            "contact": "admin@example.org",
            "network": {"encrypted": encrypted},
        }
    )
    options = overlay_options(site, 1500)
    assert options["com.docker.network.driver.mtu"] == mtu
    assert ("encrypted" in options) is encrypted
