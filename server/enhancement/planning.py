"""Which repairs a diagnosis asks for, in which order, and whether they did any good."""

from __future__ import annotations

from server.enhancement.nouns import Defect, Diagnosis, EnhanceRequest, Repair

ORDER = (
    Repair.EXPOSURE,  # light is the whole picture's, and the restorer sees tiles: it goes first
    Repair.COLOUR,
    Repair.RESTORE,
    Repair.INPAINT,  # letters are found better in what has been restored
    Repair.WHITE_BACKGROUND,
    Repair.RECENTRE,
    Repair.UPSCALE,  # last: all before it is done on fewer pixels
)
CURES = {
    Repair.RESTORE: (Defect.BLUR, Defect.NOISE, Defect.JPEG_BLOCKS, Defect.LOW_RESOLUTION),
    Repair.EXPOSURE: (Defect.EXPOSURE,),
    Repair.COLOUR: (Defect.COLOUR_CAST,),
    Repair.INPAINT: (Defect.OVERLAY,),
    Repair.WHITE_BACKGROUND: (Defect.CLUTTERED_BACKGROUND,),
    Repair.RECENTRE: (Defect.OFF_CENTRE,),
    Repair.UPSCALE: (),
}
ON_DEMAND = frozenset({Repair.WHITE_BACKGROUND, Repair.RECENTRE, Repair.UPSCALE})
"""Done where they are asked for, and only there: they are a matter of taste."""

MAX_WORSE = 0.05
"""By which the scores of what is to be cured may rise: measures of a better picture waver."""


def is_wanted(repair: Repair, request: EnhanceRequest, diagnosis: Diagnosis) -> bool:
    """Whether the request allows it, and the diagnosis asks for it."""
    if repair in ON_DEMAND:
        return repair in request.repairs
    if request.repairs and repair not in request.repairs:
        return False
    if repair is Repair.INPAINT and request.defect_mask:
        return True
    return any(diagnosis[defect].is_found for defect in CURES[repair])


def is_worse(repair: Repair, before: Diagnosis, after: Diagnosis) -> bool:
    """Whether what the repair is for is worse than it was."""
    worsening = sum(after[defect].score - before[defect].score for defect in CURES[repair])
    return worsening > MAX_WORSE
