"""Rows 66-78: states of accounts, mail, the operator."""

import re

from clients import listed_repo
from suite import POST, Account, Table, did_of, expect, image_post, jwt_parts, png, post
from verify import block_of, demand, parse_car, verify_commit

table = Table()
row = table.row
CODE = re.compile(r"\b[A-Z2-7]{5}-[A-Z2-7]{5}\b")


@row(66, "deactivateAccount: what then is refused, and what is not")
def deactivate(s):
    a = s.account()
    a.create(post())
    with s.stream() as stream:
        expect(a.post("server.deactivateAccount", {}), 200)
        event = stream.until(lambda kind, event: kind == "#account" and event["did"] == a.did)[-1][1]
    demand(event["active"] is False and event["status"] == "deactivated", f"event {event}")
    for method in ("getRepo", "getLatestCommit", "listBlobs"):
        expect(s.server.get(f"sync.{method}", did=a.did), 400, "RepoDeactivated")
    status = expect(s.server.get("sync.getRepoStatus", did=a.did), 200)
    demand(status == {"did": a.did, "active": False, "status": "deactivated"}, f"getRepoStatus {status}")
    said = listed_repo(s, a.did)
    demand(said and said["active"] is False and said["status"] == "deactivated", f"listRepos {said}")
    expect(a.post("repo.createRecord", {"repo": a.did, "collection": POST, "record": post()}), 401,
           "AccountDeactivated", message="Account is deactivated")
    session = expect(s.sign_in(a), 200)
    demand(session["active"] is False and session["status"] == "deactivated", f"createSession {session}")
    demand(parse_car(a.archive())[1], "its owner gets the repository")
    expect(a.get("server.checkAccountStatus"), 200)
    expect(a.get("server.getServiceAuth", aud="did:web:x", lxm="com.atproto.server.createAccount"), 200)
    a.upload(png(66))
    demand(s.server.request("GET", "/.well-known/atproto-did", {"Host": a.handle}).status == 404, "its handle")
    expect(s.server.get("repo.getRecord", repo=a.did, collection=POST, rkey="x"), 400, "RecordNotFound")
    expect(s.server.get("repo.listRecords", repo=a.did, collection=POST), 400, starts="Could not find repo")
    expect(s.server.get("repo.describeRepo", repo=a.did), 400, "RepoDeactivated")
    expect(s.server.get("identity.resolveHandle", handle=a.handle), 400, "HandleNotFound")


@row(67, "[better] activateAccount: account, identity, and where the repository stands")
def activate(s):
    a = s.account()
    rev = a.create(post())["commit"]["rev"]
    expect(a.post("server.deactivateAccount", {}), 200)
    with s.stream() as stream:
        expect(a.post("server.activateAccount"), 200)
        made = a.create(post("awake"))
        seen = stream.commit_of(made["commit"]["rev"], a.did)
    own = [(kind, event) for kind, event in seen if did_of(event) == a.did][:-1]
    kinds = [kind for kind, _ in own]
    demand(set(kinds) >= {"#account", "#identity"} and {"#sync", "#commit"} & set(kinds), f"events {kinds}")
    account = dict(own)["#account"]
    demand(account["active"] is True and "status" not in account, f"{account}")
    key = s.signing_key(a.did)
    for kind, event in own:
        if kind in ("#sync", "#commit"):
            root, _, blocks = parse_car(event["blocks"])
            commit = verify_commit(block_of(blocks, root), a.did, key)
            demand(commit["rev"] == event["rev"] >= rev, f"rev {event['rev']} after {rev}")
            demand(kind == "#sync" or event["ops"] == [], "the commit is empty")
    expect(s.server.get("sync.getRepo", did=a.did), 200)


def subject(account):
    return {"$type": "com.atproto.admin.defs#repoRef", "did": account.did}


def take_down(s, what, applied=True):
    body = {"subject": what, "takedown": {"applied": applied, "ref": "conformance"}}
    return expect(s.server.post("admin.updateSubjectStatus", body, auth=s.admin), 200)


@row(68, "the operator takes an account down", "admin_password")
def takedown(s):
    a = s.account()
    blob = a.upload(png(68))
    a.create(image_post(blob))
    with s.stream() as stream:
        take_down(s, subject(a))
        event = stream.until(lambda kind, event: kind == "#account" and event["did"] == a.did)[-1][1]
    demand(event["active"] is False and event["status"] == "takendown", f"event {event}")
    for method, more in (("getRepo", {}), ("getBlob", {"cid": blob["ref"]["$link"]}), ("getLatestCommit", {})):
        expect(s.server.get(f"sync.{method}", did=a.did, **more), 400, "RepoTakendown")
        answer = s.server.get(f"sync.{method}", did=a.did, auth=s.admin, **more)
        demand(answer.status == 200, f"{method} for the operator: {answer.status}")
    expect(s.server.get("repo.describeRepo", repo=a.did), 400, "RepoTakendown")
    expect(s.sign_in(a), 401, "AccountTakedown", message="Account has been taken down")
    expect(a.post("repo.createRecord", {"repo": a.did, "collection": POST, "record": post()}), {400, 401})
    expect(s.server.post("server.refreshSession", token=a.refresh), {400, 401}, {"ExpiredToken", "AccountTakedown"})
    status = expect(s.server.get("sync.getRepoStatus", did=a.did), 200)
    demand(status == {"did": a.did, "active": False, "status": "takendown"}, f"getRepoStatus {status}")
    said = expect(s.server.get("admin.getSubjectStatus", auth=s.admin, did=a.did), 200)
    demand(said["takedown"] == {"applied": True, "ref": "conformance"}, f"getSubjectStatus {said}")
    take_down(s, subject(a), applied=False)
    expect(s.server.get("sync.getRepo", did=a.did), 200)
    expect(s.sign_in(a), 200)


@row(69, "createSession with allowTakendown: to appeal and to move away", "admin_password")
def takedown_session(s):
    a = s.account()
    take_down(s, subject(a))
    session = expect(s.sign_in(a, allowTakendown=True), 200)
    demand(session["active"] is False and session["status"] == "takendown", f"createSession {session}")
    demand(jwt_parts(session["accessJwt"])[1]["scope"] == "com.atproto.takendown", "scope")
    held = Account(s, session)
    expect(held.post("repo.createRecord", {"repo": a.did, "collection": POST, "record": post()}), {400, 401})
    expect(held.get("server.getServiceAuth", aud="did:web:x", lxm="com.atproto.server.createAccount"), 200)
    expect(held.get("server.getServiceAuth", aud="did:web:x", lxm="com.example.method"), {400, 401})


@row(70, "the operator takes one record down, one blob", "admin_password")
def takedown_of_parts(s):
    a = s.account()
    blob = a.upload(png(70))
    a.create(image_post(blob))
    made = a.create(post("to be taken down"))
    head = a.head()
    place = {"repo": a.did, "collection": POST, "rkey": made["uri"].rsplit("/", 1)[1]}
    take_down(s, {"$type": "com.atproto.repo.strongRef", "uri": made["uri"], "cid": made["cid"]})
    expect(s.server.get("repo.getRecord", **place), 400, "RecordNotFound")
    listed = expect(s.server.get("repo.listRecords", repo=a.did, collection=POST), 200)["records"]
    demand(made["uri"] not in [one["uri"] for one in listed], "listRecords")
    link = blob["ref"]["$link"]
    what = {"$type": "com.atproto.admin.defs#repoBlobRef", "did": a.did, "cid": link}
    take_down(s, what)
    expect(s.server.get("sync.getBlob", did=a.did, cid=link), 400)
    demand(a.head() == head, "the repository is as it was")
    expect(s.server.get("sync.getRepo", did=a.did), 200)
    take_down(s, {"$type": "com.atproto.repo.strongRef", "uri": made["uri"], "cid": made["cid"]}, applied=False)
    take_down(s, what, applied=False)
    expect(s.server.get("repo.getRecord", **place), 200)
    demand(s.server.get("sync.getBlob", did=a.did, cid=link).status == 200, "the blob is back")


def mailed_code(s, address, count=1):
    """The code in the `count`-th mail to `address`."""
    text = s.doubles.mail.find(address, count)
    found = CODE.search(text)
    demand(found, f"no code in the mail {text[:300]!r}")
    return found[0]


def confirm(s, account):
    expect(account.post("server.requestEmailConfirmation"), 200)
    code = mailed_code(s, account.email)
    expect(account.post("server.confirmEmail", {"email": account.email, "token": code}), 200)


@row(71, "requestEmailConfirmation, confirmEmail: wrong, expired, right", "mail")
def email_confirmation(s):
    a = s.account()
    expect(a.post("server.requestEmailConfirmation"), 200)
    code = mailed_code(s, a.email)
    body = {"email": a.email, "token": code}
    expect(a.post("server.confirmEmail", body | {"token": "AAAAA-22222"}), 400, "InvalidToken")
    expect(a.post("server.confirmEmail", body | {"email": s.second.email}), 400, "InvalidEmail")
    expect(s.second.post("server.confirmEmail", {"email": s.second.email, "token": code}), 400, "InvalidToken")
    if s.has("expire_mail_codes"):
        s.run_command(s.options.expire_mail_codes)
        expect(a.post("server.confirmEmail", body), 400, "ExpiredToken")
        expect(a.post("server.requestEmailConfirmation"), 200)
        body["token"] = mailed_code(s, a.email, 2)
    else:
        s.left_out("an expired code: --expire-mail-codes")
    expect(a.post("server.confirmEmail", body), 200)
    demand(expect(a.get("server.getSession"), 200)["emailConfirmed"] is True, "emailConfirmed")
    expect(a.post("server.confirmEmail", body), 400, "InvalidToken")


@row(72, "updateEmail of a confirmed address needs a code", "mail")
def email_update(s):
    a = s.account()
    demand(expect(a.post("server.requestEmailUpdate"), 200) == {"tokenRequired": False}, "not confirmed: no code")
    confirm(s, a)
    demand(expect(a.post("server.requestEmailUpdate"), 200) == {"tokenRequired": True}, "confirmed: a code")
    changed = f"{s.label()}@example.com"
    expect(a.post("server.updateEmail", {"email": changed}), 400, "TokenRequired")
    expect(a.post("server.updateEmail", {"email": changed, "token": "AAAAA-22222"}), 400, "InvalidToken")
    code = mailed_code(s, a.email, 2)
    expect(a.post("server.updateEmail", {"email": changed, "token": code}), 200)
    session = expect(a.get("server.getSession"), 200)
    demand(session["email"] == changed and session["emailConfirmed"] is False, f"{session}")


@row(73, "requestPasswordReset, resetPassword: the old password and its sessions end", "mail")
def password_reset(s):
    a = s.account()
    # Whether anybody has an address is nobody's business; the reference tells.
    expect(s.server.post("server.requestPasswordReset", {"email": "nobody@example.com"}), {200, 400})
    expect(s.server.post("server.requestPasswordReset", {"email": a.email}), 200)
    code = mailed_code(s, a.email)
    expect(s.server.post("server.resetPassword", {"token": "AAAAA-22222", "password": "another one"}), 400,
           "InvalidToken")
    expect(s.server.post("server.resetPassword", {"token": code, "password": "another one"}), 200)
    expect(s.sign_in(a), 401, "AuthenticationRequired")
    expect(s.sign_in(a, "another one"), 200)
    expect(s.server.post("server.refreshSession", token=a.refresh), 400, "ExpiredToken")
    expect(s.server.post("server.resetPassword", {"token": code, "password": "a third one"}), 400, "InvalidToken")


@row(74, "requestAccountDelete, deleteAccount: wrong password, right", "mail")
def delete_account(s):
    a = s.account()
    blob = a.upload(png(74))
    a.create(image_post(blob))
    expect(a.post("server.requestAccountDelete"), 200)
    body = {"did": a.did, "password": a.password, "token": mailed_code(s, a.email)}
    expect(s.server.post("server.deleteAccount", body | {"password": "wrong"}), 401, "AuthenticationRequired",
           message="Invalid did or password")
    expect(s.server.post("server.deleteAccount", body | {"token": "AAAAA-22222"}), 400, "InvalidToken")
    with s.stream() as stream:
        expect(s.server.post("server.deleteAccount", body), 200)
        event = stream.until(lambda kind, event: kind == "#account" and event["did"] == a.did)[-1][1]
    demand(event["active"] is False and event["status"] == "deleted", f"event {event}")
    expect(s.sign_in(a), 401, "AuthenticationRequired")
    for method, more in (("getRepoStatus", {}), ("getRepo", {}), ("getBlob", {"cid": blob["ref"]["$link"]})):
        expect(s.server.get(f"sync.{method}", did=a.did, **more), 400, "RepoNotFound")
    expect(a.get("server.getSession"), 403, "AccountNotFound")
    expect(s.server.get("identity.resolveHandle", handle=a.handle), 400, "HandleNotFound")


@row(75, "the operator's methods without a password, with a wrong one")
def wrong_admin(s):
    body = {"useCount": 1}
    expect(s.server.post("server.createInviteCode", body), 401, {"AuthMissing", "AuthenticationRequired"})
    for auth in ("Basic YWRtaW46d3Jvbmc=", "Basic ???", "Basic b3BlcmF0b3I6eA=="):
        expect(s.server.post("server.createInviteCode", body, auth=auth), 401, "AuthenticationRequired")
    expect(s.first.post("server.createInviteCode", body), {400, 401}, {"AuthenticationRequired", "InvalidToken"})
    expect(s.server.get("admin.getAccountInfo", did=s.first.did, auth="Basic YWRtaW46d3Jvbmc="), 401,
           "AuthenticationRequired")


@row(76, "an invite code for one account", "admin_password")
def invite(s):
    code = expect(s.server.post("server.createInviteCode", {"useCount": 1}, auth=s.admin), 200)["code"]
    demand(re.fullmatch(r"[a-z0-9-]+-[a-z2-7]{5}-[a-z2-7]{5}", code), f"form of the code {code}")
    made = expect(s.server.post("server.createInviteCodes", {"codeCount": 2, "useCount": 1}, auth=s.admin), 200)
    demand([len(one["codes"]) for one in made["codes"]] == [2], f"createInviteCodes {made}")
    if not s.description["inviteCodeRequired"]:
        s.left_out("this server asks for no invite codes")
        return
    a = s.account(inviteCode=code)
    expect(s.server.post("server.createAccount", s.registration(inviteCode=code)), 400, "InvalidInviteCode",
           message="Provided invite code not available")
    body = s.registration()
    del body["inviteCode"]
    expect(s.server.post("server.createAccount", body), 400, "InvalidInviteCode", message="No invite code provided")
    expect(a.get("server.getAccountInviteCodes"), 200)


@row(77, "createAccount that can't be")
def wrong_accounts(s):
    def create(**changes):
        return s.server.post("server.createAccount", s.registration(**changes))

    email = f"{s.label()}@example.com"
    expect(create(email=None), 400, "InvalidRequest", message="Email is required")
    expect(create(handle="alice.other-domain.com", email=email), 400, "UnsupportedDomain",
           message="Not a supported handle domain")
    expect(create(handle=s.first.handle, email=email), 400, {"HandleNotAvailable", "InvalidRequest"},
           starts="Handle already taken")
    expect(create(email=s.first.email), 400, "InvalidRequest", starts="Email already taken")
    expect(create(email=s.first.email.upper()), 400, "InvalidRequest", starts="Email already taken")
    expect(create(password="x" * 257), 400)
    expect(create(handle="admin" + s.domain, email=email), 400, "HandleNotAvailable", message="Reserved handle")
    expect(create(handle="ab" + s.domain, email=email), 400, "InvalidHandle")


@row(78, "the operator changes handle, address, password; getAccountInfo", "admin_password")
def admin_changes(s):
    a, handle, email = s.account(), s.handle(), f"{s.label()}@example.com"

    def admin(method, body):
        return expect(s.server.post(f"admin.{method}", body, auth=s.admin), 200)

    admin("updateAccountHandle", {"did": a.did, "handle": handle})
    admin("updateAccountEmail", {"account": a.did, "email": email})
    session = expect(a.get("server.getSession"), 200)
    demand((session["handle"], session["email"]) == (handle, email), f"{session}")
    info = expect(s.server.get("admin.getAccountInfo", did=a.did, auth=s.admin), 200)
    demand((info["did"], info["handle"], info["email"]) == (a.did, handle, email), f"getAccountInfo {info}")
    demand(info["indexedAt"], "indexedAt")
    infos = expect(s.server.get("admin.getAccountInfos", dids=[a.did, s.first.did], auth=s.admin), 200)["infos"]
    demand({one["did"] for one in infos} == {a.did, s.first.did}, f"getAccountInfos {infos}")
    admin("updateAccountPassword", {"did": a.did, "password": "of the operator"})
    expect(s.sign_in(a), 401, "AuthenticationRequired")
    expect(s.sign_in(a, "of the operator"), 200)
    expect(s.server.get("admin.getAccountInfo", did="did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", auth=s.admin), 400)
