"""Walks one key through its life with PyKMIP's own client.

Usage: pykmip_client.py HOST PORT BUNDLE
Prints a line a step; an exception or a failed check ends it with status 1.
"""

import os
import sys

from kmip.core import enums
from kmip.core.exceptions import OperationFailure
from kmip.pie import client, exceptions, objects

VERSIONS = [
    enums.KMIPVersion.KMIP_1_0,
    enums.KMIPVersion.KMIP_1_1,
    enums.KMIPVersion.KMIP_1_2,
    enums.KMIPVersion.KMIP_1_3,
    enums.KMIPVersion.KMIP_1_4,
]
MASKS = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]


def step(version, text):
    print("ok %s: %s" % (version.name, text), flush=True)


def refused(call, *args):
    """Runs call, which the server must refuse, and returns the reason."""
    try:
        call(*args)
    except (exceptions.KmipOperationFailure, OperationFailure) as failure:
        return failure.reason
    raise AssertionError("%s was not refused" % call.__name__)


def located(kmip, name):
    attribute = kmip.attribute_factory.create_attribute(enums.AttributeType.NAME, name)
    return kmip.locate(attributes=[attribute])


def state(kmip, uid):
    _, attributes = kmip.get_attributes(uid, ["State"])
    return attributes[0].attribute_value.value


def created(kmip, version):
    name = "pykmip created " + version.name
    uid = kmip.create(enums.CryptographicAlgorithm.AES, 256, name=name, cryptographic_usage_mask=MASKS)
    step(version, "create " + uid)
    key = kmip.get(uid)
    assert len(key.value) == 32 and kmip.get(uid).value == key.value
    step(version, "get")
    assert located(kmip, name) == [uid], located(kmip, name)
    step(version, "locate by name")
    names = kmip.get_attribute_list(uid)
    assert "Cryptographic Length" in names and "Name" in names, names
    _, attributes = kmip.get_attributes(uid, ["Cryptographic Length", "Name"])
    assert attributes[0].attribute_value.value == 256, attributes
    step(version, "attributes")
    assert state(kmip, uid) == enums.State.PRE_ACTIVE
    kmip.activate(uid)
    assert state(kmip, uid) == enums.State.ACTIVE
    refused(kmip.destroy, uid)
    step(version, "activate")
    kmip.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid)
    assert state(kmip, uid) == enums.State.DEACTIVATED
    step(version, "revoke")
    kmip.destroy(uid)
    refused(kmip.get, uid)
    step(version, "destroy")


def registered(kmip, version):
    name = "pykmip registered " + version.name
    material = bytes(range(32))
    key = objects.SymmetricKey(enums.CryptographicAlgorithm.AES, 256, material, masks=MASKS, name=name)
    uid = kmip.register(key)
    assert kmip.get(uid).value == material
    assert located(kmip, name) == [uid]
    step(version, "register")


def changed(kmip, version):
    name = "pykmip changed " + version.name
    uid = kmip.create(enums.CryptographicAlgorithm.AES, 256, name=name, cryptographic_usage_mask=MASKS)
    other = kmip.attribute_factory.create_attribute(enums.AttributeType.NAME, name + " again", 0)
    who, attribute = kmip.modify_attribute(uid, attribute=other)
    assert who == uid and str(attribute.attribute_value.name_value.value) == name + " again", attribute
    assert located(kmip, name) == [] and located(kmip, name + " again") == [uid]
    reason = refused(lambda: kmip.modify_attribute(uid, attribute=kmip.attribute_factory.create_attribute(
        enums.AttributeType.NAME, name, 7)))
    assert reason == enums.ResultReason.ITEM_NOT_FOUND, reason
    step(version, "modify attribute")
    who, attribute = kmip.delete_attribute(uid, attribute_name="Name", attribute_index=0)
    assert who == uid and located(kmip, name + " again") == []
    reason = refused(lambda: kmip.delete_attribute(uid, attribute_name="State", attribute_index=0))
    assert reason == enums.ResultReason.PERMISSION_DENIED, reason
    step(version, "delete attribute")
    assert refused(lambda: kmip.check(uid, None, MASKS, None)) == enums.ResultReason.PERMISSION_DENIED
    kmip.activate(uid)
    assert kmip.check(uid, 10, MASKS, 60) == uid
    assert refused(lambda: kmip.check(uid, None, [enums.CryptographicUsageMask.SIGN], None)) == enums.ResultReason.PERMISSION_DENIED
    step(version, "check")


def other_objects(kmip, version):
    secret = objects.SecretData(b"hunter2", enums.SecretDataType.PASSWORD, masks=[enums.CryptographicUsageMask.VERIFY],
                                name="pykmip secret " + version.name)
    uid = kmip.register(secret)
    back = kmip.get(uid)
    assert back.value == b"hunter2" and back.data_type == enums.SecretDataType.PASSWORD, back
    step(version, "secret data")
    uid = kmip.register(objects.OpaqueObject(b"anything", enums.OpaqueDataType.NONE, name="pykmip opaque " + version.name))
    assert kmip.get(uid).value == b"anything"
    kmip.destroy(uid)
    refused(kmip.get, uid)
    step(version, "opaque object")


def rekeyed(kmip, version):
    name = "pykmip replaced " + version.name
    old = kmip.create(enums.CryptographicAlgorithm.AES, 256, name=name, cryptographic_usage_mask=MASKS)
    uid = kmip.rekey(uid=old, offset=0)
    assert located(kmip, name) == [uid], located(kmip, name)
    assert state(kmip, uid) == enums.State.ACTIVE
    assert kmip.get(uid).value != kmip.get(old).value
    refused(kmip.rekey, old)
    step(version, "rekey")


def main(host, port, bundle):
    for version in VERSIONS:
        with client.ProxyKmipClient(
            hostname=host,
            port=int(port),
            cert=os.path.join(bundle, "cert.pem"),
            key=os.path.join(bundle, "key.pem"),
            ca=os.path.join(bundle, "ca.pem"),
            ssl_version="PROTOCOL_SSLv23",
            config_file=os.devnull,
            kmip_version=version,
        ) as kmip:
            created(kmip, version)
            registered(kmip, version)
            changed(kmip, version)
            other_objects(kmip, version)
            rekeyed(kmip, version)
    print("all versions passed")


if __name__ == "__main__":
    main(*sys.argv[1:])
