"""Who waits for whom, and who gives way, when releases of a stack meet."""

import unittest
from typing import Any

from definition import STATES, next_of, value

ME = "arn:execution:me"
OTHER = "arn:execution:other"
EARLIER, LATER = "2026-01-01T00:00:00#", "2026-01-01T00:00:09#"
ROLLBACK = "*"


def waiting(order: str, waits_for: str) -> dict[str, Any]:
    return {
        "waiting": {"S": OTHER},
        "waitingOrder": {"S": order},
        "waitingFor": {"S": waits_for},
    }


def way(waits_for: str, turn: dict[str, Any], status: str = "RUNNING", **more: Any) -> list[str]:
    """The states to which a release comes that has read this turn, up to one that acts or waits."""
    variables = {
        "waitsFor": waits_for,
        "order": "2026-01-01T00:00:05#",
        "request": {},
        "asked": False,
        "turn": turn,
        "other": {"Status": status},
        "states": {"context": {"Execution": {"Id": ME}}, "result": {"Item": turn}},
        **more,
    }
    is_rival = value(STATES["ReadTurn"]["Assign"]["isRival"], variables)
    variables["isRival"] = is_rival
    states = [next_of("DecideOnHolder", variables)]
    if states[-1] == "DescribeWaiting":
        states.append(next_of("DecideOnWaiting", variables))
    return states


class Waiting(unittest.TestCase):
    HELD = {"holder": {"S": "arn:execution:holder"}}

    def test_the_newer_of_two_releases_of_a_repository_is_the_next(self) -> None:
        turn = {**self.HELD, **waiting(LATER, "web")}
        self.assertEqual(way("web", turn), ["DescribeWaiting", "GiveWay"])
        turn = {**self.HELD, **waiting(EARLIER, "web")}
        self.assertEqual(way("web", turn), ["AskForTurn"])

    def test_a_release_of_another_repository_keeps_its_place(self) -> None:
        for order in (EARLIER, LATER):
            turn = {**self.HELD, **waiting(order, "worker")}
            self.assertEqual(way("web", turn), ["DescribeWaiting", "PauseForTurn"], order)

    def test_a_rollback_is_for_the_images_of_all_repositories(self) -> None:
        earlier = {**self.HELD, **waiting(EARLIER, "web")}
        self.assertEqual(way(ROLLBACK, earlier), ["AskForTurn"])
        later = {**self.HELD, **waiting(LATER, ROLLBACK)}
        self.assertEqual(way("web", later), ["DescribeWaiting", "GiveWay"])

    def test_the_place_of_a_release_that_ended_is_taken_whatever_it_was_for(self) -> None:
        for waits_for in ("web", "worker", ROLLBACK):
            turn = {**self.HELD, **waiting(LATER, waits_for)}
            self.assertEqual(way("web", turn, "ABORTED"), ["DescribeWaiting", "ReplaceWaiting"])

    def test_a_release_whose_place_is_gone_was_replaced(self) -> None:
        self.assertEqual(way("web", self.HELD, asked=True), ["GiveWay"])
        self.assertEqual(way("web", self.HELD), ["AskForTurn"])

    def test_an_alarm_does_not_queue(self) -> None:
        alarm = {"request": {"alarm": {"name": "errors"}}}
        turn = {**self.HELD, **waiting(LATER, "web")}
        self.assertEqual(way(ROLLBACK, turn, **alarm), ["DescribeHolder"])
        self.assertEqual(way(ROLLBACK, {}, **alarm), ["TakeTurn"])

    def test_a_turn_is_taken_over_only_as_it_was_when_its_holder_was_seen_dead(self) -> None:
        self.assertEqual(way("web", {"holder": {"S": ME}}), ["ConfirmTurn"])
        confirmed = STATES["ConfirmTurn"]["Arguments"]
        self.assertEqual(confirmed["UpdateExpression"], "SET heldSince = :now")
        take_over = STATES["TakeOver"]["Arguments"]
        since = {"S": "2026-01-01T00:00:00.000Z"}
        variables = {
            "request": {},
            "record": "release#me",
            "plan": {"digest": "sha256:2"},
            "turn": {"holder": {"S": OTHER}, "heldSince": since},
            "states": {"context": {"Execution": {"Id": ME}}},
        }
        condition = value(take_over["ConditionExpression"], variables)
        self.assertIn("holder = :ended AND heldSince = :since", condition)
        values = value(take_over["ExpressionAttributeValues"], variables)
        self.assertEqual(values[":since"], since)

    def asks(self, waits_for: str) -> tuple[str, dict[str, Any]]:
        arguments = STATES["AskForTurn"]["Arguments"]
        variables = {
            "waitsFor": waits_for,
            "order": LATER,
            "plan": {"digest": "sha256:2"},
            "states": {"context": {"Execution": {"Id": ME}}},
        }
        condition = value(arguments["ConditionExpression"], variables)
        return condition, value(arguments["ExpressionAttributeValues"], variables)

    def test_who_asks_names_in_the_condition_what_it_gives_and_nothing_else(self) -> None:
        written = STATES["AskForTurn"]["Arguments"]["UpdateExpression"]
        for waits_for in ("web", ROLLBACK):
            condition, values = self.asks(waits_for)
            for name in values:
                self.assertRegex(f"{written} {condition}", f"{name}\\b", waits_for)
        self.assertIn("waitingFor IN", self.asks("web")[0])
        self.assertNotIn("waitingFor", self.asks(ROLLBACK)[0])


class AlarmsBeforeAnything(unittest.TestCase):
    def after_planning(self, holding: bool, unsettled: bool, alarm: str) -> str:
        variables = {
            "holding": holding,
            "unsettled": unsettled,
            "request": {"alarm": {"name": alarm}},
            "plan": {"alarms": ["errors"]},
        }
        return next_of("DecideOnTurn", variables)

    def test_an_alarm_that_guards_no_deployment_needs_no_turn(self) -> None:
        self.assertEqual(self.after_planning(False, False, "disk"), "DecideOnAlarm")
        self.assertEqual(self.after_planning(False, False, "errors"), "TakeTurn")

    def test_the_plan_with_the_turn_in_hand_knows_the_revisions_of_the_one_before(self) -> None:
        known = STATES["PlanRelease"]["Arguments"]["Payload"]["revisions"]
        self.assertEqual(value(known, {"plan": None}), [])
        revision = {"taskDefinition": "web:1", "containers": [{"name": "web", "image": "i"}]}
        self.assertEqual(value(known, {"plan": {"revisions": [revision]}}), [revision])

    def test_an_alarm_stops_nothing_of_an_earlier_release(self) -> None:
        self.assertEqual(self.after_planning(True, True, "errors"), "SettleRelease")
        stop = STATES["SettleRelease"]["Arguments"]["Payload"]["stop"]
        variables = {"waitingSince": 0, "migrationLimit": 1, "plan": {"action": "rollback"}}
        of_alarm = {**variables, "request": {"alarm": {"name": "errors"}}}
        self.assertEqual(value(stop, of_alarm), "nothing")
        self.assertEqual(value(stop, {**variables, "request": {}}), "all")


class AlarmsAfterTheMigration(unittest.TestCase):
    def decided(self, state: str, **variables: Any) -> str:
        usual = {"plan": {"alarms": ["errors"], "stack": "shop"}, "request": {}, "alarmed": []}
        return next_of(state, {**usual, **variables})

    def test_alarms_are_looked_at_again_once_the_migration_is_done(self) -> None:
        self.assertEqual(self.decided("DecideOnUpdate"), "CheckAlarms")
        ignoring = {"request": {"ignoreAlarms": True}}
        self.assertEqual(self.decided("DecideOnUpdate", **ignoring), "UpdateService")
        unguarded = {"plan": {"alarms": []}}
        self.assertEqual(self.decided("DecideOnUpdate", **unguarded), "UpdateService")

    def test_an_alarm_refuses_the_deployment_before_and_after_the_migration(self) -> None:
        migrated = {"service": "web", "taskDefinition": "web:2"}
        for before, quiet in ((None, "RecordRelease"), (migrated, "UpdateService")):
            self.assertEqual(self.decided("DecideOnAlarms", migrated=before), quiet)
            alarmed = self.decided("DecideOnAlarms", migrated=before, alarmed=["errors"])
            self.assertEqual(alarmed, "ExplainFailure")

    def test_the_person_is_told_that_the_migration_stays(self) -> None:
        refusal = STATES["DecideOnAlarms"]["Choices"][0]["Output"]["aftermath"]
        variables = {"untouched": "No service was touched.", "database": "It stays."}
        self.assertEqual(value(refusal, {**variables, "migrated": None}), "No service was touched.")
        told = value(refusal, {**variables, "migrated": {"service": "web"}})
        self.assertEqual(told, "No service was touched. It stays.")


if __name__ == "__main__":
    unittest.main()
