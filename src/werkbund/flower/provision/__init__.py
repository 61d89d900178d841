"""What an operator hands out before a federation starts: a CA, keys, and a kit for the server and for each plant."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.flower.provision.certificates import certificate_warnings, expiry
    from werkbund.flower.provision.keys import keygen
    from werkbund.flower.provision.kits import with_columns
    from werkbund.flower.provision.members import Member, Members
    from werkbund.flower.provision.parties import Party, Provisioned
    from werkbund.flower.provision.provisioning import add_client, provision, renew_server, revoke_client
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "Member",
    "Members",
    "Party",
    "Provisioned",
    "add_client",
    "certificate_warnings",
    "expiry",
    "keygen",
    "provision",
    "renew_server",
    "revoke_client",
    "with_columns",
]
