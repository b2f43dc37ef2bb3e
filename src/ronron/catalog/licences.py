"""Licences that are free, by their SPDX identifiers: approved by the OSI, the FSF or Debian."""

from __future__ import annotations

import re

_NAMES = """
0BSD AFL-3.0 AGPL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 APSL-2.0
Artistic-1.0 Artistic-1.0-Perl Artistic-2.0 BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause
BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause BSL-1.0 CC-BY-3.0 CC-BY-4.0 CC-
BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 CDDL-1.1 CECILL-2.0 CECILL-2.1 CECILL-B CECILL-C
CPAL-1.0 CPL-1.0 ECL-2.0 EFL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 FTL GFDL-1.3-only
GFDL-1.3-or-later GPL-1.0 GPL-1.0-only GPL-1.0-or-later GPL-2.0 GPL-2.0-only GPL-2.0-or-later
GPL-3.0 GPL-3.0-only GPL-3.0-or-later HPND IJG ImageMagick IPL-1.0 ISC Latex2e LGPL-2.0
LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1 LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0 LGPL-3.0-only
LGPL-3.0-or-later Libpng LPL-1.02 LPPL-1.3c MirOS MIT MIT-0 MIT-Modern-Variant MPL-1.1 MPL-2.0
MS-PL MS-RL MulanPSL-2.0 NCSA NGPL ODbL-1.0 OFL-1.1 OLDAP-2.8 OpenSSL OSL-3.0 PHP-3.0 PHP-3.01
PostgreSQL PSF-2.0 Python-2.0 QPL-1.0 Ruby Sleepycat TCL Unicode-3.0 Unicode-DFS-2016 Unlicense
UPL-1.0 Vim W3C WTFPL X11 Xnet ZPL-2.0 ZPL-2.1 Zlib zlib-acknowledgement
"""
FREE = frozenset(_NAMES.split())

_KNOWN = {name.lower() for name in FREE}


def is_free(expression: str) -> bool:
    """Whether an SPDX expression (`MIT OR Apache-2.0`) grants a free licence."""
    text = re.sub(r"[()]", " ", expression)
    return any(
        all(_one(term) for term in re.split(r"\s+AND\s+", alternative))
        for alternative in re.split(r"\s+OR\s+", text)
    )


def _one(term: str) -> bool:
    name = re.split(r"\s+WITH\s+", term.strip())[0].removesuffix("+").strip()
    return name.lower() in _KNOWN
