"""`/v1/notifications`: what buyers and sellers were told. `/v1/notification-settings`, `/v1/notification-contacts`:
what they are told from now on, and where. `/v1/suppressions`: who gets nothing more. None of them shows an address."""

from typing import Annotated

from fastapi import Body, Path, Query, Request, Response

from api.access import NotificationsReader, NotificationsWriter, caller, tenant_of
from api.context import IdempotencyKey, RuntimeOf, json_answer, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.notification import examples
from api.notification.shapes import (
    NotificationContactIn,
    NotificationContactList,
    NotificationContactOut,
    NotificationList,
    NotificationOut,
    NotificationSettings,
    NotificationSettingsIn,
    SuppressionList,
    SuppressionOut,
    contact_out,
    notification_out,
    settings_out,
    suppression_out,
)
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from domain.notification import NotificationStatus
from services import notification as service
from services.notification import NewContact

router = Router(prefix="/v1", tags=["notifications"], route_class=StrictRoute)


@router.get(
    "/notifications", response_model=NotificationList, responses=READ_PROBLEMS, summary="List what people were told"
)
async def list_notifications(
    who: NotificationsReader,
    runtime: RuntimeOf,
    status: Annotated[NotificationStatus | None, Query(description="only these")] = None,
    object_id: Annotated[str | None, Query(max_length=64, description="only about this payment, payout …")] = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """And what is still to be sent; the newest first."""
    before = decode("notification", cursor)
    rows = await service.page(
        runtime.database, caller(who), status=status, object_id=object_id, before=before, limit=limit + 1
    )
    following = encode("notification", rows[limit - 1].id) if len(rows) > limit else None
    return json_answer(NotificationList(data=[notification_out(row) for row in rows[:limit]], next_cursor=following))


@router.get(
    "/notifications/{notification_id}",
    response_model=NotificationOut,
    responses=READ_PROBLEMS,
    summary="Show a notification",
)
async def show_notification(
    notification_id: Annotated[str, Path(description="`ntf_…`", examples=["ntf_01kb8x0000example000000000"])],
    who: NotificationsReader,
    runtime: RuntimeOf,
) -> Response:
    """One event, told to one person over one channel."""
    return json_answer(notification_out(await service.find(runtime.database, caller(who), notification_id)))


@router.get(
    "/notification-settings",
    response_model=NotificationSettings,
    responses=READ_PROBLEMS,
    summary="Show what people are told",
)
async def show_notification_settings(who: NotificationsReader, runtime: RuntimeOf) -> Response:
    """By type of event and channel."""
    return json_answer(settings_out(await service.settings(runtime.database, tenant_of(who))))


@router.put(
    "/notification-settings",
    response_model=NotificationSettings,
    responses=WRITE_PROBLEMS,
    summary="Replace what people are told",
)
async def replace_notification_settings(
    body: Annotated[NotificationSettingsIn, Body(openapi_examples=examples.SETTINGS)],
    who: NotificationsWriter,
    runtime: RuntimeOf,
) -> Response:
    """All of it at once; it holds for what happens from now on. A shop starts with nothing: nobody is told."""
    wanted = None if body.settings is None else [one.setting for one in body.settings]
    return json_answer(
        settings_out(
            await service.replace_settings(
                runtime.database, caller(who), tenant_of(who), wanted, sender_name=body.sender_name
            )
        )
    )


@router.get(
    "/notification-contacts",
    response_model=NotificationContactList,
    responses=READ_PROBLEMS,
    summary="List the contacts",
)
async def list_notification_contacts(who: NotificationsReader, runtime: RuntimeOf) -> Response:
    """Of sellers, and of the shop itself: whether there is an address, not which."""
    rows = await service.contacts(runtime.database, tenant_of(who))
    return json_answer(NotificationContactList(data=[contact_out(row) for row in rows]))


@router.put(
    "/notification-contacts/{recipient}",
    response_model=NotificationContactOut,
    responses=WRITE_PROBLEMS,
    summary="Say where somebody is reached",
)
async def put_notification_contact(
    recipient: Annotated[
        str,
        Path(max_length=80, description="`operator`, or `seller:` and its account", examples=["seller:seller_anna"]),
    ],
    body: Annotated[NotificationContactIn, Body(openapi_examples=examples.CONTACTS)],
    who: NotificationsWriter,
    runtime: RuntimeOf,
) -> Response:
    """All of the contact; it is stored encrypted and never shown. What is left out is gone."""
    new = NewContact(email=body.email, phone=body.phone, locale=body.locale)
    row = await service.set_contact(runtime.database, runtime.keyring, caller(who), tenant_of(who), recipient, new)
    return json_answer(contact_out(row))


@router.get("/suppressions", response_model=SuppressionList, responses=READ_PROBLEMS, summary="List the suppressions")
async def list_suppressions(
    who: NotificationsReader, runtime: RuntimeOf, cursor: Cursor = None, limit: Limit = LIMIT_DEFAULT
) -> Response:
    """Addresses that get nothing more over a channel, the newest first. Which ones is stored as digests; a
    notification that was not sent for one names it (`suppression_id`)."""
    before = decode("suppression", cursor)
    rows = await service.suppressions(runtime.database, caller(who), before=before, limit=limit + 1)
    following = encode("suppression", rows[limit - 1].id) if len(rows) > limit else None
    return json_answer(SuppressionList(data=[suppression_out(row) for row in rows[:limit]], next_cursor=following))


@router.post(
    "/suppressions/{suppression_id}/lift", response_model=SuppressionOut, responses=WRITE_PROBLEMS, summary="Lift one"
)
async def lift_suppression(
    request: Request,
    suppression_id: Annotated[str, Path(description="`sup_…`", examples=["sup_01kb8x0000example000000000"])],
    who: NotificationsWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
) -> Response:
    """The address is written to again. Who has unsubscribed has to subscribe again with Twilio as well (START)."""
    under = keyed(request, key, None)
    return json_answer(
        suppression_out(await service.lift(runtime.database, caller(who), suppression_id, request=under))
    )
